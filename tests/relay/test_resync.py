"""Accounts out of step catch up from their host, whatever happens meanwhile; what does not hold never enters."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from ingest.relay import resync
from ingest.relay.patience import Patience
from ingest.repo.keys import PrivateKey
from schemas.entries import Commit, Diff
from tests.relay.world.host import Host, Member
from tests.relay.world.people import People
from tests.relay.world.relay import World, until


def stands_at(world: World, member) -> bool:
    head = world.log.head(member.did)
    return head is not None and (head.rev, head.data, head.partial) == (member.rev, member.data, False)


async def test_a_gap_is_filled_and_what_came_meanwhile_is_taken_in_order(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member, other = host.add(1), host.add(2)
        fetching, go_on = asyncio.Event(), asyncio.Event()

        async def slow(request: web.Request) -> web.StreamResponse:
            car = host.members[request.query["did"]].car()
            fetching.set()
            await go_on.wait()
            return web.Response(body=car)

        host.repo = slow
        await host.say(member.write(2), other.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            member.write(3)  # nobody is told
            await host.say(member.write())
            await fetching.wait()
            assert world.relay.account(member.did).status == "desynchronized"  # type: ignore[union-attr]
            held = [member.write() for _ in range(5)]
            await host.say(*held, other.write())
            await until(lambda: stands_at(world, other))  # nobody else waits
            go_on.set()
            await world.taken(host)

            assert stands_at(world, member)
            assert world.paths(member.did) == sorted(member.records)
            mine = [entry for entry in await world.entries() if entry.did == member.did]  # type: ignore[union-attr]
            assert [type(entry) for entry in mine] == [Commit, Diff, *[Commit] * 5]
            assert [entry.rev for entry in mine[2:]] == [commit.rev for commit in held]  # type: ignore[union-attr]
            # The commit that showed the gap is in the fetched repo.
            assert world.dropped == {"discontinuous": 1, "rev_stale": 1}


async def test_a_repo_that_lies_is_refused_and_asked_for_again(tmp_path: Path, monkeypatch) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write(20))
        honest = member.car
        tries = []

        async def lying(_request: web.Request) -> web.StreamResponse:
            tries.append(1)
            car = honest()
            match len(tries):
                case 1:
                    return web.Response(status=503)
                case 2:
                    return web.Response(body=car[:-10])
                case 3:
                    return web.Response(body=car[:-1] + bytes((car[-1] ^ 1,)))
                case 4:
                    return web.Response(body=stranger.car())
                case 5:
                    return web.Response(body=before)
                case 6:
                    return web.Response(body=forged)
                case 7:
                    raise web.HTTPFound("http://10.0.0.1/")
            return web.Response(body=car)

        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            world.relay.resync._first_pause = 0.001
            monkeypatch.setattr(resync, "TRIES", 9)
            stranger = host.add(2)
            stranger.write()
            await host.say(member.write())
            await world.taken(host)
            host.repo = lying
            # An older state, truly signed: what a host with an old backup gives.
            old = Member(1)
            old.write()
            before = old.car()
            thief = Member(1)
            thief.key = PrivateKey.from_bytes("k256", (99).to_bytes(32, "big"))
            thief.clock = member.clock + 10_000
            thief.write(2)
            forged = thief.car()
            member.write(3)
            await host.say(member.write())
            await world.taken(host)

            assert len(tries) == 8
            assert stands_at(world, member)
            assert world.relay.resync.failures == {
                "repo_status": 1,
                "car_truncated": 1,
                "car_hash": 1,
                "field_mismatch": 1,
                "repo_behind": 1,
                "signature": 1,
                "address_blocked": 1,
            }


async def test_a_host_that_gives_no_repo_is_left_alone_after_the_last_try(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())

        async def never(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=500)

        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            world.relay.resync._first_pause = 0.001
            host.repo = never
            member.write()
            await host.say(member.write())
            await world.taken(host)
            assert world.relay.resync.given_up == 1
            assert world.relay.resync.held_bytes == 0
            assert host.asked["getRepo"] == resync.TRIES
            host.repo = None
            await host.say(member.write())  # finds it out of step again
            await world.taken(host)

            assert stands_at(world, member)


async def test_the_queue_survives_a_restart(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        asked, hold = asyncio.Event(), asyncio.Event()

        async def stuck(_request: web.Request) -> web.StreamResponse:
            asked.set()
            await hold.wait()
            return web.Response(status=503)

        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            host.repo = stuck
            member.write()
            await host.say(member.write(), member.write())
            await asked.wait()
            await until(lambda: world.relay.host(host.name).seq == host.seq)  # type: ignore[union-attr]
            host.repo = None
            hold.set()
            await world.reopen()
            await world.taken(host)

            assert host.cursors[-1] == host.seq
            assert stands_at(world, member)
            assert world.paths(member.did) == sorted(member.records)


async def test_what_does_not_fit_is_let_go_and_the_repo_is_fetched_once_more(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(resync, "HELD_MESSAGES", 3)
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        asked, hold = asyncio.Event(), asyncio.Event()

        async def early(request: web.Request) -> web.StreamResponse:
            car = host.members[request.query["did"]].car()
            asked.set()
            await hold.wait()
            return web.Response(body=car)

        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            host.repo = early
            member.write()
            await host.say(member.write())
            await asked.wait()
            await host.say(*(member.write() for _ in range(10)))
            await until(lambda: world.relay.host(host.name).seq == host.seq)  # type: ignore[union-attr]
            assert world.dropped["catching_up"] == 8
            assert world.relay.resync.held_bytes == 0
            hold.set()
            await world.taken(host)

            assert host.asked["getRepo"] == 2
            assert stands_at(world, member)


async def test_an_account_met_in_mid_history_is_fetched_whole_if_asked(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        member.write(30)
        await host.say(member.write())
        async with World(tmp_path / "heads", people, crawl=(host.name,)) as world:
            await world.taken(host)
            assert len(world.paths(member.did)) == 1
            assert world.log.head(member.did).partial  # type: ignore[union-attr]
        async with World(tmp_path / "whole", people, crawl=(host.name,), whole=True) as world:
            await world.taken(host)

            assert stands_at(world, member)
            assert world.paths(member.did) == sorted(member.records)


async def test_a_diff_of_several_chunks_is_applied_whole(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            for _ in range(13):
                member.write(190)
            gone = min(member.records)
            member.commit((gone, None))
            await host.say(member.write())
            await world.taken(host)

            assert stands_at(world, member)
            assert world.paths(member.did) == sorted(member.records)
            assert gone not in world.paths(member.did)
            assert sum(isinstance(entry, Diff) for entry in await world.entries()) == 3


async def test_hosts_that_let_us_wait_do_not_hold_up_the_others(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as slow, Host(people) as good:
        waiting = [slow.add(number) for number in range(1, 7)]
        member = good.add(7)
        for each in (*waiting, member):
            each.write()

        async def never(_request: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError

        slow.repo = never
        patience = Patience(answer=0.2)
        async with World(tmp_path, people, patience=patience) as world:
            world.relay.resync._places.at_once = 2
            world.relay.resync._first_pause = 1.0
            for each in waiting:
                world.relay.resync.begin(each.did, slow.url)
            world.relay.resync.begin(member.did, good.url)
            await until(lambda: stands_at(world, member))

            assert slow.asked["getRepo"] == 2
            # It is asked again, for all of them, once it has been left alone.
            slow.repo = None
            await until(lambda: all(stands_at(world, each) for each in waiting))
            assert world.relay.resync.failures == {"repo_slow": 2}
