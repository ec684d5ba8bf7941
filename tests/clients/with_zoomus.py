"""Uses zoomus as its documentation says. Credentials come in variables."""

import json
import os

from zoomus import ZoomClient  # type: ignore[import-not-found]


def users() -> list[str]:
    return [user["id"] for user in json.loads(client.user.list().content)["users"]]


client = ZoomClient(os.environ["ZOOM_CLIENT_ID"], os.environ["ZOOM_CLIENT_SECRET"], os.environ["ZOOM_ACCOUNT_ID"])
seen = [users()]
client.refresh_token()
seen.append(users())

print(json.dumps(seen))  # noqa: T201
