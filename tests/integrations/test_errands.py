"""Work that outlives the request that asked for it, and is done once."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from zoom_async_auth import AuthorizationRequiredError, ManagerClosedError, TokenUnavailableError
from zoom_async_auth.integrations.errands import Errands
from zoom_async_auth.testing import ManualClock


class Work:
    """Counts how often it is done; ends when a test says so, as a test says."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.begun = 0
        self.began = asyncio.Event()
        self.done = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self) -> None:
        self.begun += 1
        self.began.set()
        await self.may_end.wait()
        self.done += 1
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def errands(clock: ManualClock) -> Errands:
    return Errands(clock.time)


async def test_who_asks_while_it_is_done_shares_the_outcome(errands: Errands) -> None:
    work = Work(AuthorizationRequiredError("no"))
    outcomes = await asyncio.gather(*(errands.once("a", work, until=9e9) for _ in range(3)))
    assert work.begun == 1
    assert [type(outcome) for outcome in outcomes] == [AuthorizationRequiredError] * 3


@pytest.mark.parametrize(
    ("failure", "times"),
    [
        (None, 1),
        (AuthorizationRequiredError("no"), 1),
        (RuntimeError("bug"), 1),
        (TokenUnavailableError("later"), 2),
        (ManagerClosedError("before it was sent"), 2),
    ],
    ids=["done", "refused", "bug", "transient", "closed"],
)
async def test_only_what_failed_for_a_while_is_done_again(
    errands: Errands, failure: Exception | None, times: int
) -> None:
    work = Work(failure)
    for _ in range(2):
        await errands.once("a", work, until=9e9)
    assert work.begun == times


async def test_an_outcome_is_known_until_its_time_is_over(errands: Errands, clock: ManualClock) -> None:
    work, until = Work(), clock.time() + 10
    for name in ("a", "b"):
        await errands.once(name, work, until=until)
    clock.advance(10)
    await errands.once("c", work, until=until + 10)
    await errands.once("a", work, until=until + 10)
    assert work.begun == 4


async def test_no_flood_of_names_fills_the_memory(errands: Errands) -> None:
    """The oldest are forgotten first: a code that is spent already is refused by Zoom."""
    work = Work()
    for number in range(4097):
        await errands.once(str(number), work, until=9e9)
    await errands.once("4096", work, until=9e9)
    assert work.begun == 4097
    await errands.once("0", work, until=9e9)
    assert work.begun == 4098


async def test_where_a_bug_was_is_told_and_nothing_that_it_says(errands: Errands) -> None:
    """Its text and its frames may hold a code or a token."""
    outcome = await errands.see_through(Work(KeyError("with a code in it")))
    assert outcome is not None
    assert not outcome.transient
    assert re.fullmatch(r"failed on a bug: KeyError at errands\.py:\d+ > test_errands\.py:\d+", str(outcome))
    assert (outcome.__cause__, outcome.__context__, outcome.__traceback__) == (None, None, None)


Way = Callable[[Errands, Work], Awaitable[object]]


@pytest.mark.parametrize(
    "way",
    [lambda errands, work: errands.once("a", work, until=9e9), lambda errands, work: errands.see_through(work)],
    ids=["once", "see_through"],
)
async def test_work_goes_on_without_who_asked_for_it(errands: Errands, way: Way) -> None:
    work = Work()
    work.may_end.clear()
    asking = asyncio.ensure_future(way(errands, work))
    await work.began.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    closing = asyncio.create_task(errands.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    work.may_end.set()
    await closing
    assert work.done == 1


async def test_work_that_ends_with_the_program_says_so(errands: Errands) -> None:
    work = Work()
    work.may_end.clear()
    before = asyncio.all_tasks()
    asking = asyncio.create_task(errands.see_through(work))
    await work.began.wait()
    for task in asyncio.all_tasks() - before - {asking}:
        task.cancel()
    assert type(await asking) is ManagerClosedError
