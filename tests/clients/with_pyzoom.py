"""Uses pyzoom as its documentation says. Credentials come in variables; BROWSER is a command that takes a URL."""

import json
import os

from pyzoom import ZoomClient, err, oauth_wizard, refresh_tokens  # type: ignore[import-not-found]

APP = os.environ["ZOOM_CLIENT_ID"], os.environ["ZOOM_CLIENT_SECRET"]

first = oauth_wizard(*APP)
seen = [ZoomClient(first["access_token"]).raw.get("/users/me").json()["id"]]

second = refresh_tokens(*APP, first["refresh_token"])
seen.append(ZoomClient(second["access_token"]).raw.get("/users/me").json()["id"])

try:
    refresh_tokens(*APP, first["refresh_token"])
except err.APIError as error:
    refusal = str(error)
else:
    refusal = ""

print(json.dumps({"seen": seen, "refusal": refusal}))  # noqa: T201
