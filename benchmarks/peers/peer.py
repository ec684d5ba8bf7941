"""What a candidate is: something that logs in, and hands out bearer tokens.

Libraries renew a token some time ahead of its expiry. Where that time is an argument it is `Login.ahead` here. Where it
is fixed at minutes, and tokens of a benchmark live for seconds, the endpoint tells a longer life, so that the same
moment comes `ahead` seconds before the truth: `Login.told(300)`. So all open their window of renewal at the same time,
and none is measured in a window that lasts for all of a token's life.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Bearer = Callable[[], Coroutine[Any, Any, str]]
Grant = Literal["client_credentials", "account_credentials", "refresh_token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What a candidate logs in with.

    Attributes:
        grant: How.
        url: The origin of the endpoint.
        client_id: Of the app.
        client_secret: Of the app.
        account_id: For account_credentials.
        access_token: For refresh_token: the last one, which has expired.
        refresh_token: That came with it; good for one use.
        ahead: Whole seconds before expiry at which a token shall be renewed.
        folder: What all processes of a program share, if there are several.
    """

    grant: Grant
    url: str
    client_id: str
    client_secret: str
    account_id: str
    access_token: str
    refresh_token: str
    ahead: int
    folder: Path | None = None

    @property
    def token_url(self) -> str:
        """The endpoint, which tells the truth."""
        return f"{self.url}/oauth/token"

    def told(self, fixed: int) -> str:
        """Return the endpoint as it is for a library that renews `fixed` seconds ahead, whatever one says."""
        return f"{self.url}/more/{fixed - self.ahead}/oauth/token"


class Peer(Protocol):
    """One candidate, as its own documentation says to use it."""

    @property
    def bearer(self) -> Bearer:
        """What a program awaits before each call of an API: where it is the library's own method, that very one."""
        ...

    async def open(self, login: Login) -> None:
        """Get ready, without a token."""
        ...

    async def close(self) -> None:
        """Give everything back."""
        ...
