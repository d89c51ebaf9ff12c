"""A repo that ends at any byte, however its end is said: refused, and nothing of it is in the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from ingest.relay import backfill_job
from ingest.relay.reasons import RelayReason
from ingest.repo.reasons import RepoReason
from schemas.errors import Refused
from tests.relay.test_backfill import begin, has_all_of, named, world_of
from tests.relay.world.host import Host
from tests.relay.world.people import People
from tests.relay.world.relay import World, until

End = Callable[[web.Request, bytes, int], Awaitable[web.StreamResponse]]

CUT = frozenset((RepoReason.CAR_TRUNCATED, RepoReason.RECORD_MISSING, RepoReason.MISSING_BLOCK, RepoReason.CAR_ROOT))


async def said_to_be_whole(_request: web.Request, car: bytes, at: int) -> web.StreamResponse:
    return web.Response(body=car[:at])


async def shorter_than_its_length(request: web.Request, car: bytes, at: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(car))})
    return await _broken(request, response, car[:at])


async def without_the_last_chunk(request: web.Request, car: bytes, at: int) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    return await _broken(request, response, car[:at])


async def _broken(request: web.Request, response: web.StreamResponse, piece: bytes) -> web.StreamResponse:
    await response.prepare(request)
    if piece:
        await response.write(piece)
    assert request.transport is not None
    request.transport.close()
    return response


ENDS = (said_to_be_whole, shorter_than_its_length, without_the_last_chunk)


@pytest.mark.parametrize("end", ENDS)
async def test_an_account_that_catches_up_stays_as_it_was(tmp_path: Path, end: End) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            before, entries = world.log.head(member.did), await world.entries()
            member.write(2)  # nobody is told
            car = member.car()
            cuts, reasons = iter(range(len(car))), set()

            async def repo(request: web.Request) -> web.StreamResponse:
                return await end(request, car, next(cuts))

            host.repo = repo
            for _ in car:
                with pytest.raises(Refused) as refused:
                    await world.relay.resync.fetch(member.did, host.url)
                reasons.add(refused.value.reason)
            assert host.asked["getRepo"] == len(car) > 1_000
            assert reasons <= (CUT if end is said_to_be_whole else {RelayReason.REPO_UNREACHABLE})
            assert world.log.head(member.did) == before
            assert await world.entries() == entries
            assert not len(world.relay.resync)

            host.repo = None
            await world.relay.resync.fetch(member.did, host.url)
            assert has_all_of(world, member)


@pytest.mark.parametrize("end", ENDS)
async def test_a_backfill_brings_nothing_of_it(tmp_path: Path, end: End, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_job, "TRIES", 1)
    people = People()
    async with Host(people) as host:
        members = [host.add(1)]
        members[0].write()
        cuts = len(members[0].car()) - 8  # another's may be a few bytes shorter
        members += [host.add(number) for number in range(2, cuts + 1)]
        at = {member.did: number for number, member in enumerate(members)}
        for member in members[1:]:
            member.write()

        async def repo(request: web.Request) -> web.StreamResponse:
            did = request.query["did"]
            return await end(request, host.members[did].car(), at[did])

        host.repo = repo
        async with world_of(tmp_path, people) as world:
            number = (await begin(world, host)).id
            await until(lambda: world.relay.backfills.backfill(number).state == "done", seconds=300)
            view = world.relay.backfills.backfill(number)
            assert host.asked["getRepo"] == len(members) == sum(view.failed.values()) > 500
            assert set(view.failed) <= (CUT if end is said_to_be_whole else {RelayReason.REPO_UNREACHABLE})
            assert not view.became
            assert await world.entries() == []

            host.repo = None
            few = members[:10]
            assert (await named(world, [member.did for member in few])).became == {"fetched": len(few)}
            assert all(has_all_of(world, member) for member in few)
