"""Messages in line: what a cut connection had in hand takes no room with it, and is read again."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

from ingest.relay import lines
from ingest.relay.lines import Lines
from ingest.relay.quotas import Bucket, Rate
from ingest.relay.source import Source
from tests.relay.world.host import Host
from tests.relay.world.people import People
from tests.relay.world.relay import World, until


def source(room: int) -> Source:
    return Source("host", "host", room=room, refreshes=Bucket(Rate(1, 1)))


async def _nothing() -> None:
    """Work."""


@pytest.mark.parametrize(("of_all", "of_bytes"), [(1, 1 << 20), (9, 100)])
async def test_who_stops_waiting_for_room_takes_none_with_it(
    monkeypatch: pytest.MonkeyPatch, of_all: int, of_bytes: int
) -> None:
    monkeypatch.setattr(lines, "ROOM", of_all)
    monkeypatch.setattr(lines, "ROOM_BYTES", of_bytes)
    made, first, second, go_on = Lines(), source(1), source(1), asyncio.Event()

    async def long() -> None:
        await go_on.wait()

    await made.put(first, "did:plc:a", 100, long, lambda: None)
    waiting = asyncio.create_task(made.put(second, "did:plc:b", 100, _nothing, lambda: None))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    await made.idle()

    async with asyncio.timeout(10):
        for each in (first, second):
            await made.put(each, "did:plc:c", 100, _nothing, lambda: None)
        await made.idle()


async def test_work_that_was_given_up_before_it_began_is_closed() -> None:
    made, first, second = Lines(), _nothing(), _nothing()
    made.in_line("did:plc:a", first)
    made.in_line("did:plc:a", second)
    await asyncio.gather(made.close(), return_exceptions=True)
    await asyncio.sleep(0)

    assert {inspect.getcoroutinestate(work) for work in (first, second)} == {inspect.CORO_CLOSED}


async def test_a_host_cut_while_it_waits_for_room_is_read_again_from_what_it_waited_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "ROOM", 2)
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 7)]
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            people.away = True  # three tries of each account: its line is busy meanwhile
            world.relay.intake._pause = lambda _: go_on.wait()  # type: ignore[assignment]
            go_on = asyncio.Event()
            await host.say(*(member.write() for member in members))
            known = world.relay.running(host.name)
            assert known is not None
            await until(lambda: known.progress.waiting == 3)
            await world.relay.disconnect(host.name)
            await until(lambda: len(host.cursors) == 2)
            people.away = False
            go_on.set()
            await world.taken(host)

            assert host.cursors == [0, 2]
            assert {entry.did for entry in await world.entries()} == set(host.members)  # type: ignore[union-attr]
