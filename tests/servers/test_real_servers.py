"""The manager on OAuth servers that nobody here wrote: what it believes of the protocol, others believe too.

Both rotate refresh tokens, and end a grant when a spent one comes back, which is what Zoom does and what no mock dares.
"""

import asyncio
from dataclasses import replace
from http import HTTPStatus

import pytest

from tests.servers.bench import Bench
from tests.servers.person import visit
from zoom_async_auth import (
    AuthorizationRequiredError,
    ConfigurationError,
    DeviceCodeGrant,
    RenewalPolicy,
    ServerToServer,
    Token,
    TokenUnavailableError,
    UserOAuth,
    ZoomAuthError,
)
from zoom_async_auth.events import GrantDied, TokenRenewed, TokenRevoked
from zoom_async_auth.oauth.wire import DeviceCode

pytestmark = [
    pytest.mark.asyncio(loop_factories=["plain"]),
    pytest.mark.timeout(20, func_only=True),  # to install and to start a server takes what it takes
]

HERD = 50


async def test_an_app_gets_its_own_token_once_for_all_callers(bench: Bench) -> None:
    """F53."""
    async with bench.manager(bench.peer.robot) as manager:
        first = set(await asyncio.gather(*(manager.bearer() for _ in range(HERD))))
        bench.expire()
        second = set(await asyncio.gather(*(manager.bearer() for _ in range(HERD))))

    assert bench.wire.sent == {"client_credentials": 2}
    assert len(first) == len(second) == len(first | second) - 1 == 1
    assert await bench.peer.is_alive(*second)


async def test_a_code_with_pkce_starts_a_chain(bench: Bench) -> None:
    async with bench.manager() as manager:
        token = await manager.authorize(await bench.consent())
        assert await manager.bearer() == token.access_token

    assert bench.wire.sent == {"authorization_code": 1}
    assert token.refresh_token is not None
    assert token.assumed == frozenset()
    assert token.scope == {"meeting:read", "user:read"}
    assert await bench.peer.is_alive(token.access_token)


async def test_a_code_without_its_verifier_is_worth_nothing(bench: Bench) -> None:
    """The challenge in the authorize URL is one that others understand; a refusal leaves the way open (RFC 7636)."""
    grant = await bench.consent()
    async with bench.manager() as manager:
        with pytest.raises(AuthorizationRequiredError) as refused:
            await manager.authorize(replace(grant, code_verifier="v" * 43))
        assert refused.value.error == "invalid_grant"
        await manager.authorize(await bench.consent())


async def test_a_person_who_declines_is_understood(bench: Bench) -> None:
    answer = await bench.asked(allows=False)

    assert isinstance(answer, AuthorizationRequiredError)
    assert answer.error == "access_denied"


async def test_a_herd_on_an_expired_token_costs_one_refresh(bench: Bench) -> None:
    """Each further one would be a spent token that comes back, and the end of the grant."""
    async with bench.manager() as manager:
        old = await manager.authorize(await bench.consent())
        bench.expire()
        tokens = set(await asyncio.gather(*(manager.bearer() for _ in range(HERD))))

    assert bench.wire.sent["refresh_token"] == 1
    assert len(tokens) == 1
    assert old.access_token not in tokens
    assert await bench.peer.is_alive(*tokens)
    assert bench.seen(GrantDied) == []


async def test_a_herd_without_a_manager_loses_the_grant(bench: Bench) -> None:
    """What the test before this one saves its callers from.

    oidc-provider lets one of them win and then ends the grant. django-oauth-toolkit hands several pairs out, and the
    grant ends at the latest when the callers spend what they got.
    """
    async with bench.manager() as manager:
        old = await manager.authorize(await bench.consent())
    winners = [
        got for got in await asyncio.gather(*(bench.refresh(old) for _ in range(HERD))) if isinstance(got, Token)
    ]
    assert winners
    later = [got for got in [await bench.refresh(winner) for winner in winners] if isinstance(got, Token)]

    for access_token in {token.access_token for token in (old, *winners, *later)}:
        assert not await bench.peer.is_alive(access_token)
    for token in later:
        assert isinstance(await bench.refresh(token), AuthorizationRequiredError)


@pytest.mark.timeout(60, func_only=True)
async def test_two_hundred_renewals_in_a_row_keep_the_chain_alive(bench: Bench) -> None:
    async with bench.manager() as manager:
        await manager.authorize(await bench.consent())
        tokens = [await manager.renew() for _ in range(200)]

    assert bench.wire.sent["refresh_token"] == 200
    assert len({token.access_token for token in tokens}) == len({token.refresh_token for token in tokens}) == 200
    assert await bench.peer.is_alive(tokens[-1].access_token)
    assert isinstance(await bench.refresh(tokens[-1]), Token)


@pytest.mark.parametrize("moment", ["leaves", "answered"])
async def test_callers_who_leave_in_the_middle_lose_nothing(bench: Bench, moment: str) -> None:
    """Interleaving: the request leaves, or the server has rotated, and then all who wait are cancelled (F40)."""
    async with bench.manager() as manager:
        before = await manager.authorize(await bench.consent())
        for round_ in range(1, 11):
            bench.expire()
            reached: asyncio.Event = getattr(bench.wire, moment)
            reached.clear()
            callers = [asyncio.ensure_future(manager.bearer()) for _ in range(5)]
            await reached.wait()
            for caller in callers:
                caller.cancel()
            await asyncio.wait(callers)
            assert all(caller.cancelled() for caller in callers)
            after = await manager.token()
            assert after.refresh_token != before.refresh_token
            assert bench.wire.sent["refresh_token"] == round_
            before = after

    assert await bench.peer.is_alive(before.access_token)
    assert bench.seen(GrantDied) == []


async def test_a_spent_token_that_comes_back_ends_the_grant_and_is_reported_once(bench: Bench) -> None:
    async with bench.manager() as manager:
        stolen = await manager.authorize(await bench.consent())
        held = await manager.renew()
        assert await bench.peer.is_alive(held.access_token)

        replayed = await bench.refresh(stolen)
        assert isinstance(replayed, AuthorizationRequiredError)
        assert replayed.error == "invalid_grant"
        assert not await bench.peer.is_alive(held.access_token)

        bench.expire()
        for _ in range(2):
            outcomes = await asyncio.gather(*(manager.bearer() for _ in range(HERD)), return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {AuthorizationRequiredError}
        assert bench.wire.sent["refresh_token"] == 2
        assert [died.answer_was_lost for died in bench.seen(GrantDied)] == [False]

        await manager.authorize(await bench.consent())
        assert await bench.peer.is_alive(await manager.bearer())


async def test_an_answer_lost_after_the_rotation_is_named_as_the_cause(bench: Bench) -> None:
    """The refresh token is sent again, the only move that can heal. Here it does not: the report says so (F28)."""
    async with bench.manager() as manager:
        await manager.authorize(await bench.consent())
        bench.expire()
        bench.wire.to_lose = 1
        with pytest.raises(AuthorizationRequiredError):
            await manager.bearer()

    assert bench.wire.sent["refresh_token"] == 2
    assert [died.answer_was_lost for died in bench.seen(GrantDied)] == [True]


async def test_a_renewal_that_somebody_wants_now_does_not_hammer(bench: Bench) -> None:
    """`renew()` skips the pause after earlier failures, not the one after its own: a loop has a floor."""
    policy = RenewalPolicy(jitter=0.0, min_interval=1.0, timeout=0.2)
    async with bench.manager(policy=policy, luck=0.9) as manager:
        await manager.authorize(await bench.consent())
        bench.clock.advance(10.0)
        bench.wire.to_lose = 1000
        with pytest.raises(TokenUnavailableError):
            await manager.renew()
        assert bench.wire.sent["refresh_token"] == 1


async def test_a_device_waits_for_the_person_and_gets_its_token(bench: Bench) -> None:
    code = await _device_code(bench)
    async with bench.manager(bench.peer.device) as manager:
        grant = DeviceCodeGrant(device_code=code.device_code)
        with pytest.raises(TokenUnavailableError) as waiting:
            await manager.authorize(grant)
        assert waiting.value.error == "authorization_pending"

        await visit(code.verification_uri, {**bench.peer.passport, "user_code": code.user_code})
        token = await manager.authorize(grant)
        assert await manager.bearer() == token.access_token
        renewed = await manager.renew()

    assert renewed.refresh_token != token.refresh_token
    assert await bench.peer.is_alive(renewed.access_token)


async def test_a_device_whose_person_declines_hears_it(bench: Bench) -> None:
    code = await _device_code(bench)
    await visit(code.verification_uri, {**bench.peer.passport, "user_code": code.user_code}, allows=False)
    async with bench.manager(bench.peer.device) as manager:
        with pytest.raises(AuthorizationRequiredError) as refused:
            await manager.authorize(DeviceCodeGrant(device_code=code.device_code))

    assert refused.value.error == "access_denied"


async def test_what_is_revoked_is_dead_at_the_server(bench: Bench) -> None:
    """We send the access token; both servers take the refresh token with it (RFC 7009, section 2.1)."""
    async with bench.manager() as manager:
        token = await manager.authorize(await bench.consent())
        assert await bench.peer.is_alive(token.access_token)
        await manager.revoke()
        assert not await bench.peer.is_alive(token.access_token)
        with pytest.raises(AuthorizationRequiredError):
            await manager.bearer()

    assert bench.wire.sent == {"authorization_code": 1, "revoke": 1}
    assert len(bench.seen(TokenRevoked)) == 1
    assert isinstance(await bench.refresh(token), AuthorizationRequiredError)


async def test_a_wrong_secret_is_for_the_operator_and_spends_nothing(bench: Bench) -> None:
    async with bench.manager() as manager:
        token = await manager.authorize(await bench.consent())
    wrong = UserOAuth(client_id=bench.peer.person.client_id, client_secret="wrong")
    refused = await bench.refresh(token, wrong)

    assert isinstance(refused, ConfigurationError)
    assert refused.error == "invalid_client"
    assert refused.status == HTTPStatus.UNAUTHORIZED
    assert isinstance(await bench.refresh(token), Token)


async def test_a_grant_that_is_zooms_alone_is_refused_as_a_misconfiguration(bench: Bench) -> None:
    """A server-to-server app's grant is in no RFC: an app pointed at the wrong server is told so, after one request."""
    robot = bench.peer.robot
    app = ServerToServer(account_id="any", client_id=robot.client_id, client_secret=robot.client_secret)
    async with bench.manager(app) as manager:
        for _ in range(2):
            with pytest.raises(ConfigurationError) as refused:
                await manager.bearer()
            assert refused.value.error == "unsupported_grant_type"

    assert bench.wire.sent == {"account_credentials": 1}
    assert bench.seen(TokenRenewed) == []


async def _device_code(bench: Bench) -> DeviceCode:
    async with bench.endpoint(bench.peer.device) as endpoint:
        code = await endpoint.device_code()
    assert not isinstance(code, ZoomAuthError)
    return code
