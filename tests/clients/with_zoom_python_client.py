"""Uses zoom-python-client as its documentation says. Credentials, and perhaps a token, come in variables."""

import json
import sys

from zoom_python_client.zoom_api_client import ZoomApiClient  # pyright: ignore[reportMissingImports]

client = ZoomApiClient.init_from_env()

print(json.dumps([client.users.get_user(sys.argv[1])["id"] for _ in range(2)]))  # noqa: T201
