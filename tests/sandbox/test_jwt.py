"""Tokens are minted in the very shape of the mission's sample response."""

import hmac
import json
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest

from zoom_async_auth.sandbox.jwt import REFRESH_LIFETIME, Subject, mint

SAMPLE: dict[str, str] = json.loads((Path(__file__).parents[1] / "data" / "token_response.json").read_text())
PLACEHOLDERS = Subject(
    client_id="<Client_ID>",
    code="<Code>",
    authentication_id="<Authentication_ID>",
    user_id="<User_ID>",
    account_id="<Account_ID>",
)
KEY = b"k" * 64


def minted(*, token_type: str = "access_token", lifetime: int = 3600, token_id: str = "<JTI>") -> str:
    return mint(
        PLACEHOLDERS,
        token_type=token_type,
        issued_at=1_580_146_993,
        lifetime=lifetime,
        token_id=token_id,
        key=KEY,
        key_id="<KID>",
    )


@pytest.mark.parametrize(
    ("token_type", "lifetime", "length"), [("access_token", 3600, 596), ("refresh_token", REFRESH_LIFETIME, 598)]
)
def test_with_the_samples_placeholders_the_sample_comes_out(token_type: str, lifetime: int, length: int) -> None:
    """A client that works here has seen Zoom's header, claims, order and lengths, byte for byte."""
    token = minted(token_type=token_type, lifetime=lifetime)

    assert token.rpartition(".")[0] == SAMPLE[token_type].rpartition(".")[0]
    assert len(token) == len(SAMPLE[token_type]) == length


def test_a_token_is_signed_with_hs512() -> None:
    """The header says so; Zoom's signature has the same 64 bytes, with a key that only Zoom has."""
    signed, _, signature = minted().rpartition(".")

    assert urlsafe_b64decode(signature + "==") == hmac.digest(KEY, signed.encode(), "sha512")


def test_the_token_id_makes_a_token_unique() -> None:
    """Two tokens of one subject in one second are two tokens."""
    assert minted(token_id="one") != minted(token_id="two")
