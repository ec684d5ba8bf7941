"""`zoom-async-auth sandbox`: Zoom's OAuth on this host, until interrupted."""

import asyncio
import json
import sys
from collections.abc import Iterable

from zoom_async_auth.sandbox import Sandbox

_AS_A_PERSON = (
    "unset ZOOM_ACCOUNT_ID; export ZOOM_CLIENT_ID=$ZOOM_USER_CLIENT_ID ZOOM_CLIENT_SECRET=$ZOOM_USER_CLIENT_SECRET"
)


def run(*, host: str, port: int, token_lifetime: float, latency: float, faults: Iterable[str], as_json: bool) -> int:
    """Serve until interrupted."""
    sandbox = Sandbox(host=host, port=port, token_lifetime=token_lifetime, latency=latency)
    asyncio.run(_serve(sandbox, faults=faults, as_json=as_json))
    return 0


async def _serve(sandbox: Sandbox, *, faults: Iterable[str], as_json: bool) -> None:
    async with sandbox as zoom:
        for fault in faults:
            zoom.faults.add(fault)
        known = {
            "base_url": zoom.url,
            "account_id": zoom.credentials.account_id,
            "client_id": zoom.credentials.client_id,
            "client_secret": zoom.credentials.client_secret,
            "user_client_id": zoom.user_app.client_id,
            "user_client_secret": zoom.user_app.client_secret,
        }
        if as_json:
            sys.stdout.write(json.dumps(known) + "\n")
        else:
            lines = [
                *(f"export ZOOM_{name.upper()}={value}" for name, value in known.items()),
                "# people log in to the other app: " + _AS_A_PERSON,
                f"# statistics: {zoom.url}/_sandbox/stats; Ctrl-C ends",
            ]
            sys.stdout.write("\n".join([*lines, ""]))
        sys.stdout.flush()
        await asyncio.Event().wait()
