"""The script of faults: written one way, counted by grant, and what it does to a real connection."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from zoom_async_auth import ConfigurationError
from zoom_async_auth.endpoint import AiohttpTransport
from zoom_async_auth.errors import ZoomAuthError
from zoom_async_auth.oauth.grants import ClientCredentialsGrant
from zoom_async_auth.oauth.requests import token_request
from zoom_async_auth.oauth.wire import MAX_BODY, Answer
from zoom_async_auth.sandbox import Sandbox, Zoom
from zoom_async_auth.sandbox.faults import Faults, Reply
from zoom_async_auth.testing import MemoryTransport

EMPTY = Reply(status=200, headers={}, body=b"")


def _hits(faults: Faults, *grants: str) -> list[bool]:
    return [faults.take(grant) is not None for grant in grants]


def test_a_fault_without_a_number_is_for_the_next_request() -> None:
    faults = Faults()
    faults.add("refresh_token:hang")
    assert _hits(faults, "authorization_code", "refresh_token", "refresh_token") == [False, True, False]


def test_requests_are_counted_by_grant_from_when_the_fault_was_set() -> None:
    faults = Faults()
    assert _hits(faults, "refresh_token") == [False]
    faults.add("refresh_token#2:hang")
    assert _hits(faults, "client_credentials", "refresh_token", "refresh_token", "refresh_token") == [
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("where", "hits"),
    [
        ("any#3", [False, False, True, False, False]),
        ("any#2-3", [False, True, True, False, False]),
        ("any#2-", [False, True, True, True, True]),
        ("any#1-", [True] * 5),
    ],
)
def test_a_range_of_requests_can_be_named(where: str, hits: list[bool]) -> None:
    faults = Faults()
    faults.add(f"{where}:hang")
    assert _hits(faults, *["refresh_token"] * 5) == hits


def test_the_earlier_one_wins_and_both_count() -> None:
    faults = Faults()
    faults.add("any#1-2:answer=500")
    faults.add("any#2-3:answer=501")
    statuses = []
    for _ in range(3):
        fault = faults.take("refresh_token")
        assert fault is not None
        statuses.append(fault.change(EMPTY).status)
    assert statuses == [500, 500, 501]


@pytest.mark.parametrize("text", ["any:redirect=http://x/\r\nX: y", "any:content-type=a\nb", "any:answer=199"])
def test_what_no_answer_can_have_is_refused(text: str) -> None:
    """A server would fail on it, or its client would wait for ever."""
    with pytest.raises(ConfigurationError):
        Faults().add(text)


def test_faults_can_be_taken_back() -> None:
    faults = Faults()
    faults.add("any#1-:hang")
    faults.clear()
    assert _hits(faults, "refresh_token") == [False]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hang",
        "refresh:hang",
        "any:",
        "any:nothing",
        "any:hang=1",
        "any:answer",
        "any:answer=99",
        "any:answer=600 x",
        "any:drip=0",
        "any:drip=x",
        "any:expires-in=soon",
        "any:without",
        "any#0:hang",
        "any#x:hang",
        "any#5-3:hang",
        "any#3 hang",
    ],
)
def test_a_fault_that_is_not_written_right_is_refused_with_what_is_right(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"WHERE:WHAT|are there|wants|is written"):
        Faults().add(text)


@pytest.fixture
async def zoom() -> AsyncIterator[Zoom]:
    async with Sandbox() as zoom:
        yield zoom


async def _sent(zoom: Zoom, *, in_memory: bool, timeout: float = 5.0) -> Answer | ZoomAuthError:
    request = token_request(zoom.client_credentials, ClientCredentialsGrant())
    url = f"{zoom.url}/oauth/token"
    async with AiohttpTransport() as sockets:
        transport = MemoryTransport(zoom) if in_memory else sockets
        try:
            return await transport.send(url, request.headers, request.body, timeout)
        except ZoomAuthError as error:
            return error


BOTH = pytest.mark.parametrize("in_memory", [False, True], ids=["sockets", "memory"])


@BOTH
@pytest.mark.parametrize(
    ("what", "status", "headers", "body"),
    [
        ('answer=400 {"error":"invalid_grant"}', 400, {}, b'{"error":"invalid_grant"}'),
        ("answer=204", 204, {}, b""),
        ("retry-after=2025-01-20T00:00:00Z", 429, {"Retry-After": "2025-01-20T00:00:00Z"}, None),
        ("redirect=https://evil.example/", 307, {"Location": "https://evil.example/"}, b""),
        ("html", 200, {"Content-Type": "text/html"}, None),
        ("gzip-bomb", 200, {"Content-Encoding": "gzip"}, None),
    ],
)
async def test_an_answer_in_zooms_place(
    zoom: Zoom, what: str, status: int, headers: dict[str, str], body: bytes | None, *, in_memory: bool
) -> None:
    zoom.faults.add(f"any:{what}")
    answer = await _sent(zoom, in_memory=in_memory)

    assert isinstance(answer, Answer)
    assert answer.status == status
    assert headers.items() <= dict(answer.headers).items()
    assert body is None or answer.body == body
    assert zoom.stats == {"client_credentials": {"fault": 1}}


@BOTH
@pytest.mark.parametrize(
    ("what", "field", "value"),
    [
        ('expires-in="3600"', "expires_in", "3600"),
        ("expires-in=-5", "expires_in", -5),
        ('scope=["a"]', "scope", ["a"]),
        ("without=scope", "scope", None),
        ("without=access_token", "access_token", None),
    ],
)
async def test_a_changed_answer_of_zoom(zoom: Zoom, what: str, field: str, value: object, *, in_memory: bool) -> None:
    zoom.faults.add(f"any:{what}")
    answer = await _sent(zoom, in_memory=in_memory)

    assert isinstance(answer, Answer)
    assert json.loads(answer.body).get(field) == value
    assert zoom.stats == {"client_credentials": {"ok": 1}}


@BOTH
async def test_a_content_type_and_a_truncation(zoom: Zoom, *, in_memory: bool) -> None:
    zoom.faults.add("any:content-type=text/plain")
    zoom.faults.add("any#2:truncated")
    odd = await _sent(zoom, in_memory=in_memory)
    half = await _sent(zoom, in_memory=in_memory)

    assert isinstance(odd, Answer)
    assert isinstance(half, Answer)
    assert dict(odd.headers)["Content-Type"].startswith("text/plain")
    assert len(half.body) < len(odd.body)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
        json.loads(half.body)


@BOTH
async def test_a_body_without_end_is_longer_than_anybody_reads(zoom: Zoom, *, in_memory: bool) -> None:
    zoom.faults.add("any:endless")
    answer = await _sent(zoom, in_memory=in_memory)

    assert isinstance(answer, Answer)
    assert len(answer.body) > MAX_BODY


@BOTH
@pytest.mark.parametrize(
    ("what", "outcome"),
    [
        ("hang", "fault"),
        ("hang-after", "ok"),
        ("reset", "fault"),
        ("reset-after", "ok"),
        ("cut", "ok"),
        ("drip=1", "ok"),
    ],
)
async def test_who_gets_no_answer_is_in_doubt_whether_zoom_acted_or_not(
    zoom: Zoom, what: str, outcome: str, *, in_memory: bool
) -> None:
    """The client cannot tell; the sandbox's statistics can."""
    zoom.faults.add(f"any:{what}")
    error = await _sent(zoom, in_memory=in_memory, timeout=0.2)

    assert isinstance(error, ZoomAuthError)
    assert error.in_doubt
    assert zoom.stats == {"client_credentials": {outcome: 1}}


async def test_who_waits_for_an_answer_that_never_comes_is_not_sent_an_empty_one_in_the_end(
    zoom: Zoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoom_async_auth.sandbox.delivery._LONGEST_HANG", 0.01)
    zoom.faults.add("any:hang")

    assert isinstance(await _sent(zoom, in_memory=False), ZoomAuthError)


@BOTH
async def test_a_drip_that_is_fast_enough_arrives(zoom: Zoom, *, in_memory: bool) -> None:
    zoom.faults.add("any:drip=0.00001")
    answer = await _sent(zoom, in_memory=in_memory)

    assert isinstance(answer, Answer)
    assert json.loads(answer.body)["token_type"] == "bearer"


async def test_faults_can_be_set_over_http(zoom: Zoom) -> None:
    """So that a program in another process, or language, can be tested."""
    async with aiohttp.ClientSession(zoom.url) as http:
        async with http.post("/_sandbox/faults", data="any:answer=503\nany#2:answer=502\n") as response:
            assert response.status == 204
        statuses = []
        for _ in range(3):
            answer = await _sent(zoom, in_memory=False)
            assert isinstance(answer, Answer)
            statuses.append(answer.status)
        async with http.post("/_sandbox/faults", data="any#1-:hang\nany:nothing") as response:  # all, or none
            assert response.status == 400
            assert "no such fault" in await response.text()
        assert isinstance(await _sent(zoom, in_memory=False), Answer)
        zoom.faults.add("any#1-:hang")
        async with http.post("/_sandbox/faults") as response:
            assert response.status == 204
        assert isinstance(await _sent(zoom, in_memory=False), Answer)

    assert statuses == [503, 502, 200]


async def test_faults_are_taken_back_over_http_by_what_takes_things_back(zoom: Zoom) -> None:
    zoom.faults.add("any#1-:hang")
    async with aiohttp.ClientSession(zoom.url) as http, http.delete("/_sandbox/faults") as response:
        assert response.status == 204

    assert isinstance(await _sent(zoom, in_memory=False), Answer)


@pytest.mark.parametrize(("method", "status"), [("POST", 400), ("GET", 405), ("PUT", 405)])
async def test_who_sets_faults_wrongly_over_http_is_told_how_they_begin_and_end(
    zoom: Zoom, method: str, status: int
) -> None:
    async with (
        aiohttp.ClientSession(zoom.url) as http,
        http.request(method, "/_sandbox/faults", data="down") as response,
    ):
        assert response.status == status
        assert response.headers.get("Allow") == ("DELETE,POST" if status == 405 else None)
        assert "POST sets faults" in (told := await response.text())
        assert "DELETE takes all back" in told


async def test_who_hangs_up_on_a_hanging_connection_frees_it(zoom: Zoom) -> None:
    zoom.faults.add("any#1-:hang")
    for _ in range(3):
        task = asyncio.create_task(_sent(zoom, in_memory=False))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait({task})
