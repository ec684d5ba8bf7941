"""What a renewal is for, and what a record in the store means for it: pure functions of both."""

from dataclasses import dataclass

from zoom_async_auth.errors import AuthorizationRequiredError
from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.renewal.held import Held
from zoom_async_auth.renewal.ledger import Look

_NOT_AUTHORIZED = "nobody has authorized the app yet: send the person to the authorize URL, then call authorize()"
_DEAD = "the stored authorization is dead: the person has to authorize the app again"


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a renewal is for.

    Attributes:
        ours: The token that we have, or had.
        is_app: Whether it is an app's own, of which there can be as many as one likes.
        trusted: Whether it is still served; if not, any other valid token of an app is better.
        forced: Whether a refresh token that is noted as dead is tried once more.
    """

    ours: Held | None
    is_app: bool
    trusted: bool
    forced: bool

    def is_met_by(self, held: Held, seen: Look) -> bool:
        """Tell whether a valid token that was found is better than ours."""
        ours = self.ours
        if ours is None:
            return True
        if held.token.access_token == ours.token.access_token:
            return False
        if self.is_app:
            return held.generation > ours.generation or not self.trusted or held.expires_at > ours.expires_at
        # Generations begin anew when somebody authorizes after the store went back.
        return held.generation > ours.generation or seen.is_later_than(ours)

    def is_outrun_by_ours(self, seen: Look) -> bool:
        """Tell whether a person's token in the store is one that ours came after: the store went back."""
        if self.ours is None or self.is_app:
            return False
        return seen.reading.generation < self.ours.generation and not seen.is_later_than(self.ours)

    def problem(self, seen: Look) -> AuthorizationRequiredError | None:
        """Return why only a person can help: there is no refresh token that may be sent."""
        record = seen.reading.record
        if self.is_app:
            return None
        if record is None or record.token is None:
            return AuthorizationRequiredError(_NOT_AUTHORIZED)
        if record.cause is not None and not self.forced:
            return AuthorizationRequiredError(_DEAD, error=record.cause)
        return None
