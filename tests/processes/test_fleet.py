"""Eight processes on one store: one token request for each renewal, and no caller of any of them waits for it.

pytest tests/processes/test_fleet.py                             some renewals, on each store
RENEWALS=60 LIFETIME=3 pytest tests/processes/test_fleet.py      sixty, of tokens that live for three seconds

The shorter a token lives, the sooner all processes must have the next one: the second wants its machine for itself.
"""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.processes.conftest import place_of
from tests.processes.family import Child
from tests.processes.members import Report, member
from tests.processes.place import App
from zoom_async_auth.sandbox import Sandbox, Zoom

RENEWALS = int(os.environ.get("RENEWALS", "2"))
LIFETIME = float(os.environ.get("LIFETIME", "6"))
PROCESSES = 8
LATENCY = 0.05

pytestmark = [
    pytest.mark.asyncio(loop_factories=["plain"]),
    pytest.mark.timeout(60 + 2 * RENEWALS * LIFETIME),
]


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis", "valkey", "encrypted", "layered"])
async def test_a_fleet_costs_one_request_for_each_renewal_and_nobody_waits(tmp_path: Path, kind: str) -> None:
    """For a person's token, which rotates, and for that of a server-to-server app."""
    place = await asyncio.to_thread(place_of, kind, tmp_path)
    async with Sandbox(token_lifetime=LIFETIME, latency=LATENCY) as zoom:
        apps = {"refresh_token": App.of(zoom, personal=True), "account_credentials": App.of(zoom, personal=False)}
        await apps["refresh_token"].authorize(place.store(), zoom)
        fleet = [await Child.of(member, place, list(apps.values())) for _ in range(PROCESSES)]
        try:
            assert [await child.hears() for child in fleet] == ["ready"] * PROCESSES
            await _renewals(zoom, apps, 1)  # the first token may have been old when they came
            await asyncio.sleep(LIFETIME / 4)  # Zoom has decided; now all get the next one
            for child in fleet:
                await child.tell("count")
            await _renewals(zoom, apps, RENEWALS)
            for child in fleet:
                await child.tell("enough")
            told: list[list[Report]] = [await child.hears() for child in fleet]
        finally:
            for child in fleet:
                await asyncio.to_thread(child.end)
        async with place.store() as store:
            stored = {grant: await store.peek(app.store_key()) for grant, app in apps.items()}

    for grant, reports in zip(apps, zip(*told, strict=True), strict=True):
        assert set(zoom.stats[grant]) == {"ok"}
        # Each generation is one request: none was sent in vain, none was lost.
        authorizations = 1 if grant == "refresh_token" else 0
        assert zoom.stats[grant]["ok"] + authorizations == stored[grant].generation
        assert sum(report.waited for report in reports) == 0
        assert sum(report.errors for report in reports) == 0
        assert sum(report.rejected for report in reports) == 0
        assert all(report.calls > 0 and report.asked_zoom > 0 for report in reports)


async def _renewals(zoom: Zoom, grants: Iterable[str], number: int) -> None:
    """Wait until there were that many more of each."""

    def done(grant: str) -> int:
        return zoom.stats.get(grant, {}).get("ok", 0)

    wanted = {grant: done(grant) + number for grant in grants}
    while any(done(grant) < number for grant, number in wanted.items()):  # noqa: ASYNC110 -- the sandbox counts, in silence
        await asyncio.sleep(0.05)
