"""`zoom-async-auth token`: one token, printed."""

import asyncio
from typing import Any

from zoom_async_auth.cli.terminal import progress, tell, tell_json
from zoom_async_auth.cli.who import Person, named_person, opened
from zoom_async_auth.oauth.token import Token


def run(*, as_json: bool, as_header: bool, **whose: Any) -> int:  # noqa: ANN401 -- of `named_person`
    """Print a token, of the app or of a person."""
    token, seconds_left = asyncio.run(_token(named_person(**whose), quiet=as_json))
    if as_json:
        tell_json(
            {
                "access_token": token.access_token,
                "token_type": token.token_type,
                "expires_in": token.expires_in,
                "scope": " ".join(sorted(token.scope)),
                "api_url": token.api_url,
                "seconds_left": int(seconds_left),
            }
        )
    else:
        tell(f"Authorization: Bearer {token.access_token}" if as_header else token.access_token)
    return 0


async def _token(person: Person | None, *, quiet: bool) -> tuple[Token, float]:
    async with opened(person, quiet=quiet) as manager:
        with progress("asking for a token", quiet=quiet):
            token = await manager.token()
        return token, manager.health().seconds_left
