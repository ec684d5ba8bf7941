"""A person's chain of one-time refresh tokens: never lost by us, tried again when in doubt, buried if Zoom says so."""

import asyncio
from typing import Any

import pytest

from tests.engine.world import QUIET, World
from zoom_async_auth import (
    AuthorizationCodeGrant,
    AuthorizationRequiredError,
    ConfigurationError,
    DeviceCodeGrant,
    RefreshTokenGrant,
    StoredToken,
    TokenManager,
    TokenUnavailableError,
)
from zoom_async_auth.events import Authorized, GrantDied, RenewalFailed, StoreNotDurable, TokenRevoked
from zoom_async_auth.oauth.authorize import RANDOMNESS, authorization_request, read_callback
from zoom_async_auth.oauth.wire import Answer


def _lose(answer: Answer) -> Answer:
    """Zoom has acted; its answer is lost."""
    del answer
    raise TokenUnavailableError("no answer from the token endpoint: ServerDisconnectedError", in_doubt=True)


async def _opened(world: World, **options: Any) -> TokenManager:
    manager = world.personal(**options)
    await manager.start()
    await manager.authorize(world.consent())
    return manager


async def test_a_consent_starts_a_chain_that_renews_itself(world: World) -> None:
    """The code is exchanged once, with its redirect URI and PKCE verifier; then refresh follows refresh."""
    async with world.personal(policy=QUIET) as manager:
        with pytest.raises(AuthorizationRequiredError):
            await manager.bearer()
        token = await manager.authorize(world.consent())
        assert await manager.bearer() == token.access_token
        await asyncio.sleep(10 * 3300.0)
        assert world.is_good(await manager.bearer())

    assert world.zoom.stats == {"authorization_code": {"ok": 1}, "refresh_token": {"ok": 10}}
    assert len(world.seen(Authorized)) == 1
    assert len(world.seen(StoreNotDurable)) == 1


async def test_two_hundred_renewals_in_a_row_keep_the_chain_alive(world: World) -> None:
    manager = await _opened(world)
    for _ in range(200):
        await manager.renew()
    assert world.is_good(await manager.bearer())
    await manager.aclose()

    assert world.zoom.stats["refresh_token"] == {"ok": 200}


async def test_a_public_client_needs_no_secret(world: World) -> None:
    """It names itself in the form and proves itself by PKCE."""
    app = world.zoom.public_app
    async with world.manager(app) as manager:
        await manager.authorize(world.consent(app=app))
        await manager.renew()

    assert world.zoom.stats == {"authorization_code": {"ok": 1}, "refresh_token": {"ok": 1}}


async def test_a_device_grant_starts_a_chain_once_the_person_agrees(world: World) -> None:
    """Pending is transient, and latches nothing (S29)."""
    model = world.zoom.model
    app = model.app(world.zoom.user_app.client_id)
    assert app is not None
    codes = model.device(app)
    assert isinstance(codes, dict)
    async with world.personal() as manager:
        with pytest.raises(TokenUnavailableError, match="not decided yet") as pending:
            await manager.authorize(DeviceCodeGrant(device_code=codes["device_code"]))
        assert pending.value.error == "authorization_pending"
        model.decide_device(codes["user_code"], "alice", allow=True)
        await asyncio.sleep(5.0)
        await manager.authorize(DeviceCodeGrant(device_code=codes["device_code"]))
        assert world.is_good(await manager.bearer())


async def test_a_refused_code_changes_nothing(world: World) -> None:
    """The old chain stays, nothing is latched."""
    manager = await _opened(world)
    token = await manager.bearer()
    with pytest.raises(AuthorizationRequiredError, match="ask the person"):
        await manager.authorize(AuthorizationCodeGrant(code="made up", redirect_uri=world.zoom.redirect_uri))
    assert await manager.bearer() == token
    await manager.renew()
    await manager.aclose()

    assert not world.seen(GrantDied)


async def test_a_callback_without_a_grant_is_refused_in_its_own_words(world: World) -> None:
    """What `read_callback` returned says what happened, also to who passed it on unseen; a copy, with no past."""
    request = authorization_request(
        world.zoom.user_app, redirect_uri=world.zoom.redirect_uri, randomness=b"r" * RANDOMNESS
    )
    outcome: Any = read_callback(f"error=access_denied&state={request.state}", request)
    async with world.personal() as manager:
        with pytest.raises(AuthorizationRequiredError, match="the person declined to authorize the app") as refused:
            await manager.authorize(outcome)

    assert refused.value is not outcome
    assert outcome.__traceback__ is None
    assert world.zoom.token_requests == 0


async def test_a_lost_answer_is_followed_by_the_same_refresh_token_and_then_by_one_event(world: World) -> None:
    """F28 A: Zoom rotated, knows no grace, refuses the second use: dead, said once, no request for a day (F77)."""
    manager = await _opened(world, policy=QUIET)
    world.clock.advance(3600.0)
    world.wire.replies.append(_lose)
    with pytest.raises(AuthorizationRequiredError) as caught:
        await manager.bearer()
    assert caught.value.error == "invalid_grant"
    assert world.zoom.stats["refresh_token"] == {"ok": 1, "invalid_grant": 1}
    assert manager.health().state == "dead"
    await asyncio.sleep(24 * 3600.0)
    with pytest.raises(AuthorizationRequiredError):
        await manager.bearer()
    await manager.aclose()

    assert world.zoom.stats["refresh_token"] == {"ok": 1, "invalid_grant": 1}
    assert [event.answer_was_lost for event in world.seen(GrantDied)] == [True]


async def test_a_lost_answer_heals_where_zoom_allows_a_second_use(world: World) -> None:
    """F28 B: the same refresh token again is the only move that can heal."""
    world.zoom.model.reuse_grace = 30.0
    manager = await _opened(world)
    world.clock.advance(3600.0)
    world.wire.replies.append(_lose)
    assert world.is_good(await manager.bearer())
    await manager.renew()
    await manager.aclose()

    assert world.zoom.stats["refresh_token"] == {"ok": 3}
    assert not world.seen(GrantDied)


async def test_a_request_that_never_arrived_is_sent_again(world: World) -> None:
    """F28 C, F24: nothing was rotated."""
    manager = await _opened(world)
    world.clock.advance(3600.0)
    world.wire.held_before = asyncio.Event()
    caller = asyncio.create_task(manager.bearer())
    await asyncio.sleep(10.5)  # the attempt is over
    world.wire.held_before.set()
    world.wire.held_before = None
    assert world.is_good(await caller)
    await manager.aclose()

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"<html>"),
        (502, b""),
        (503, b'{"error":"temporarily_unavailable"}'),
        (429, b""),
        (408, b""),
        (425, b""),
        (418, b"unknown"),
        (400, b'{"error":"something_new"}'),
        (200, b"<html>log in</html>"),
        (204, b""),
    ],
)
async def test_no_trouble_of_the_endpoint_is_taken_for_a_dead_grant(world: World, status: int, body: bytes) -> None:
    """Transient, the refresh token is kept, the next try brings a token (F1, F6, F7, F11, F15)."""
    manager = await _opened(world)
    world.clock.advance(3600.0)
    world.wire.instead.append(Answer(status=status, headers={}, body=body))
    assert world.is_good(await manager.bearer())
    await manager.aclose()

    assert [event.error.transient for event in world.seen(RenewalFailed)][-1:] == [True]
    assert world.zoom.stats["refresh_token"] == {"ok": 1}
    assert not world.seen(GrantDied)


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize(
    "body",
    [
        b'{"reason":"Invalid Token!","error":"invalid_grant"}',
        b'{"error":"invalid_grant"}',
        b'{"reason":"Invalid Token!","error":"invalid_request"}',
    ],
    ids=["today", "without a reason", "the older form"],
)
async def test_a_dead_refresh_token_costs_one_request_and_then_none(world: World, status: int, body: bytes) -> None:
    """By code and reason, not by status; 7,016 requests were counted elsewhere (F12, F13, F77)."""
    manager = await _opened(world)
    world.clock.advance(3600.0)
    posts = world.wire.posts
    world.wire.instead += [Answer(status=status, headers={}, body=body)]
    for _ in range(100):
        with pytest.raises(AuthorizationRequiredError):
            await manager.bearer()
        await asyncio.sleep(100.0)
    await manager.aclose()

    assert world.wire.posts == posts + 1
    assert len(world.seen(GrantDied)) == 1


async def test_a_latched_grant_has_a_way_out_by_renew(world: World) -> None:
    """Zoom was wrong for once: a person may insist."""
    manager = await _opened(world)
    world.clock.advance(3600.0)
    world.wire.instead.append(Answer(status=400, headers={}, body=b'{"error":"invalid_grant"}'))
    with pytest.raises(AuthorizationRequiredError):
        await manager.bearer()
    await asyncio.sleep(2.0)
    token = await manager.renew()
    assert await manager.bearer() == token.access_token
    assert manager.health().state == "fresh"
    await manager.aclose()


async def test_a_latched_grant_has_a_way_out_by_authorize(world: World) -> None:
    manager = await _opened(world)
    world.clock.advance(3600.0)
    world.wire.instead.append(Answer(status=400, headers={}, body=b'{"error":"invalid_grant"}'))
    with pytest.raises(AuthorizationRequiredError):
        await manager.bearer()
    await manager.authorize(world.consent())
    assert world.is_good(await manager.bearer())
    assert manager.health().last_error is None
    await manager.aclose()


async def test_a_grant_that_died_early_is_served_as_long_as_its_token_lives(world: World) -> None:
    """The refresh failed ahead of expiry: nobody has to notice yet."""
    manager = await _opened(world, policy=QUIET)
    token = await manager.bearer()
    world.wire.instead.append(Answer(status=400, headers={}, body=b'{"error":"invalid_grant"}'))
    await asyncio.sleep(3400.0)
    assert await manager.bearer() == token
    assert manager.health().state == "stale"
    await asyncio.sleep(200.0)
    with pytest.raises(AuthorizationRequiredError):
        await manager.bearer()
    assert manager.health().state == "dead"
    await manager.aclose()


async def test_an_invalid_client_keeps_the_refresh_token(world: World) -> None:
    """Mending the configuration brings it back (F14)."""
    manager = await _opened(world)
    world.clock.advance(3600.0)
    world.wire.instead.append(Answer(status=401, headers={}, body=b'{"error":"invalid_client"}'))
    with pytest.raises(ConfigurationError):
        await manager.bearer()
    await manager.renew()
    assert world.is_good(await manager.bearer())
    await manager.aclose()


async def test_an_omitted_refresh_token_leaves_the_old_one_in_use(world: World) -> None:
    """RFC 6749, section 6 (F21)."""

    def without_refresh_token(answer: Answer) -> Answer:
        head, _, rest = answer.body.partition(b'"refresh_token":"')
        return Answer(status=200, headers={}, body=head + rest.partition(b'",')[2])

    world.zoom.model.reuse_grace = 1e9
    manager = await _opened(world)
    before = await manager.token()
    world.wire.replies.append(without_refresh_token)
    after = await manager.renew()
    assert after.access_token != before.access_token
    assert after.refresh_token == before.refresh_token
    await manager.renew()
    await manager.aclose()


async def test_a_pair_from_another_program_is_imported_without_an_exchange(world: World) -> None:
    """Moving here costs no consent."""
    donor = await _opened(world)
    pair = await donor.token()
    await donor.aclose()
    expires_at = world.clock.time() + 1000.0
    posts = world.wire.posts
    async with world.personal(policy=QUIET) as manager:
        imported = StoredToken(
            access_token=pair.access_token, refresh_token=pair.refresh_token, expires_at=expires_at, scope=pair.scope
        )
        await manager.authorize(imported)
        assert await manager.bearer() == pair.access_token
        assert manager.health().seconds_left == pytest.approx(990.0)
        assert world.wire.posts == posts
        await asyncio.sleep(700.5)
        assert world.wire.posts == posts + 1
        assert await manager.bearer() != pair.access_token


async def test_a_pair_that_has_expired_is_imported_and_renewed_at_once(world: World) -> None:
    donor = await _opened(world)
    pair = await donor.token()
    await donor.aclose()
    async with world.personal() as manager:
        await manager.authorize(
            StoredToken(
                access_token=pair.access_token,
                refresh_token=pair.refresh_token,
                expires_at=world.clock.time() - 3600.0,
            )
        )
        assert await manager.bearer() != pair.access_token

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


async def test_an_access_token_alone_serves_until_it_ends(world: World) -> None:
    """Without a refresh token the person is asked again, and nothing is sent."""
    async with world.personal() as manager:
        await manager.authorize(StoredToken(access_token="alone", expires_at=world.clock.time() + 100.0))
        assert await manager.bearer() == "alone"
        await asyncio.sleep(100.0)
        with pytest.raises(AuthorizationRequiredError, match="cannot be renewed"):
            await manager.bearer()

    assert world.wire.posts == 0


async def test_authorize_yields_to_a_refresh_on_the_wire_and_wins(world: World) -> None:
    """F74: the code's chain is the live one, whatever came in between."""
    manager = await _opened(world)
    world.zoom.latency = 3.0
    renewal = asyncio.create_task(manager.renew())
    await asyncio.sleep(2.0)
    assert world.zoom.stats["refresh_token"] == {"ok": 1}
    token = await manager.authorize(world.consent())
    await renewal
    assert await manager.bearer() == token.access_token
    assert world.is_good(token.access_token)
    await manager.renew()
    await manager.aclose()

    assert not world.seen(GrantDied)


async def test_authorize_wakes_those_who_wait_in_a_backoff(world: World) -> None:
    """They get the new token at once, and the old refresh token is not sent."""
    world.luck = 1.0 - 1e-9
    manager = await _opened(world)
    world.clock.advance(3600.0)
    world.zoom.outage = 500
    caller = asyncio.create_task(manager.bearer())
    await asyncio.sleep(4.5)
    world.zoom.outage = None
    token = await manager.authorize(world.consent())
    assert await caller == token.access_token
    await manager.aclose()

    assert "ok" not in world.zoom.stats["refresh_token"]


async def test_a_cancelled_authorize_keeps_what_the_code_bought(world: World) -> None:
    """A web client that hangs up has spent its code (F39)."""
    async with world.personal() as manager:
        authorization = asyncio.create_task(manager.authorize(world.consent()))
        await asyncio.sleep(0.05)
        authorization.cancel()
        await asyncio.sleep(1.0)
        assert world.is_good(await manager.bearer())

    assert world.zoom.stats == {"authorization_code": {"ok": 1}}


async def test_revoke_tells_zoom_and_forgets(world: World) -> None:
    """Then the state is `unauthorized`, and nothing is sent until somebody authorizes again."""
    manager = await _opened(world)
    token = await manager.bearer()
    await manager.revoke()
    assert not world.is_good(token)
    assert manager.health().state == "unauthorized"
    posts = world.wire.posts
    with pytest.raises(AuthorizationRequiredError):
        await manager.bearer()
    await asyncio.sleep(24 * 3600.0)
    assert world.wire.posts == posts
    await manager.authorize(world.consent())
    assert world.is_good(await manager.bearer())
    await manager.aclose()

    assert len(world.seen(TokenRevoked)) == 1


async def test_a_revoke_that_fails_changes_nothing(world: World) -> None:
    """Still valid, so still served; it may be tried again (S30)."""
    manager = await _opened(world)
    token = await manager.bearer()
    world.wire.instead.append(Answer(status=503, headers={}, body=b""))
    with pytest.raises(TokenUnavailableError):
        await manager.revoke()
    assert await manager.bearer() == token
    await manager.revoke()
    assert not world.is_good(token)
    await manager.aclose()


async def test_revoking_what_is_not_there_is_no_error_and_no_request(world: World) -> None:
    async with world.personal() as manager:
        await manager.revoke()

    assert world.wire.posts == 0


async def test_a_renewal_ahead_that_waits_for_a_revocation_gets_no_token_that_nobody_wants(world: World) -> None:
    """It turns stale while its revocation is on the wire."""
    async with world.manager() as manager:
        await manager.bearer()
        await asyncio.sleep(3299.5)
        world.wire.held_before = asyncio.Event()
        revoking = asyncio.create_task(manager.revoke())
        await asyncio.sleep(1.0)
        assert manager._slot.flight is not None
        world.wire.held_before.set()
        world.wire.held_before = None
        await revoking
        await asyncio.sleep(2 * 3600.0)
        assert world.zoom.stats["account_credentials"] == {"ok": 1}
        assert world.is_good(await manager.bearer())


async def test_a_caller_who_waits_while_an_apps_token_is_revoked_gets_the_next_one(world: World) -> None:
    async with world.manager() as manager:
        await manager.bearer()
        world.wire.held_before = asyncio.Event()
        revoking = asyncio.create_task(manager.revoke())
        await asyncio.sleep(1.0)
        renewing = asyncio.create_task(manager.renew())
        await asyncio.sleep(1.0)
        world.wire.held_before.set()
        world.wire.held_before = None
        await revoking
        assert world.is_good((await renewing).access_token)


async def test_an_app_that_revoked_its_token_gets_the_next_one_when_asked(world: World) -> None:
    async with world.manager() as manager:
        token = await manager.bearer()
        await manager.revoke()
        assert not world.is_good(token)
        await asyncio.sleep(7200.0)
        assert world.zoom.token_requests == 1
        assert world.is_good(await manager.bearer())

    assert world.zoom.token_requests == 2


async def test_a_code_is_not_spent_while_zoom_wants_a_pause(world: World) -> None:
    """No request of that client id before `Retry-After`; the caller hears how long (F2)."""
    async with world.personal() as manager:
        world.wire.instead.append(Answer(status=429, headers={"Retry-After": "60"}, body=b""))
        grant = world.consent()
        with pytest.raises(TokenUnavailableError) as first:
            await manager.authorize(grant)
        with pytest.raises(TokenUnavailableError, match="nothing was sent") as second:
            await manager.authorize(grant)
        assert first.value.retry_after == second.value.retry_after == pytest.approx(60.0)
        assert first.value.args[0] in second.value.args[0]  # and why: it need not be Zoom who wants it
        assert world.wire.posts == 1
        await asyncio.sleep(60.1)
        await manager.authorize(grant)


async def test_a_bare_refresh_token_can_start_a_chain(world: World) -> None:
    donor = await _opened(world)
    pair = await donor.token()
    await donor.aclose()
    assert pair.refresh_token is not None
    async with world.personal() as manager:
        await manager.authorize(RefreshTokenGrant(refresh_token=pair.refresh_token))
        assert world.is_good(await manager.bearer())
