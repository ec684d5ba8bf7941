"""A host that may have no token gets none, and if it refuses for that, the log says why."""

from collections.abc import Awaitable, Callable

import aiohttp
import httpx
import pytest

from tests.integrations.raw import answers, raw_server
from zoom_async_auth.bearer import BearerMiddleware
from zoom_async_auth.integrations.httpx import BearerAuth, BearerTransport

Get = Callable[[str, dict[str, str]], Awaitable[int]]


class _Source:
    """Is not to be asked."""

    async def bearer(self) -> str:
        raise AssertionError

    def invalidate(self, token: str, /) -> bool:
        raise AssertionError(token)


async def _by_aiohttp(url: str, headers: dict[str, str]) -> int:
    middleware = BearerMiddleware(_Source())
    async with aiohttp.ClientSession(middlewares=[middleware]) as session, session.get(url, headers=headers) as answer:
        return answer.status


async def _by_transport(url: str, headers: dict[str, str]) -> int:
    async with httpx.AsyncClient(transport=BearerTransport(_Source())) as client:
        return (await client.get(url, headers=headers)).status_code


async def _by_auth(url: str, headers: dict[str, str]) -> int:
    async with httpx.AsyncClient(auth=BearerAuth(_Source()), trust_env=False) as client:
        return (await client.get(url, headers=headers)).status_code


each_way = pytest.mark.parametrize("get", [_by_aiohttp, _by_transport, _by_auth])


@each_way
async def test_a_host_that_is_not_allowed_and_refuses_is_named(get: Get, caplog: pytest.LogCaptureFixture) -> None:
    """A sandbox, or a proxy of one's own, that `allowed` does not mention: the 401 alone would be a riddle."""
    async with raw_server(answers(status="401 Unauthorized")) as server:
        assert await get(f"{server.url}/v2/users?secret", {}) == 401

    assert [record.getMessage() for record in caplog.records if record.name == "zoom_async_auth"] == [
        (
            f"{server.url} was sent no token, and answered 401: "
            "it is neither https on port 443 of a Zoom host, nor in `allowed`"
        )
    ]


@each_way
@pytest.mark.parametrize(("status", "headers"), [("200 OK", {}), ("401 Unauthorized", {"Authorization": "Basic own"})])
async def test_nothing_is_said_of_an_answer_that_is_no_riddle(
    get: Get, status: str, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with raw_server(answers(status=status)) as server:
        await get(server.url, headers)

    assert not [record for record in caplog.records if record.name == "zoom_async_auth"]
