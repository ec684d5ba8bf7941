"""`zoom-async-auth token`: one token, printed."""

import asyncio
import json
import sys

from zoom_async_auth.manager import TokenManager
from zoom_async_auth.oauth.token import Token
from zoom_async_auth.renewal.policy import RenewalPolicy

PATIENCE = 10.0
"""Seconds: a person sits in front of it, or a script that has a retry of its own."""


def run(*, as_json: bool, as_header: bool) -> int:
    """Print a token for the app in the environment."""
    manager = TokenManager.from_env(policy=RenewalPolicy(timeout=PATIENCE))
    token = asyncio.run(_one_token(manager))
    if as_json:
        shown = {
            "access_token": token.access_token,
            "token_type": token.token_type,
            "expires_in": token.expires_in,
            "scope": " ".join(sorted(token.scope)),
            "api_url": token.api_url,
        }
        sys.stdout.write(json.dumps(shown) + "\n")
    elif as_header:
        sys.stdout.write(f"Authorization: Bearer {token.access_token}\n")
    else:
        sys.stdout.write(token.access_token + "\n")
    return 0


async def _one_token(manager: TokenManager) -> Token:
    async with manager:
        return await manager.token()
