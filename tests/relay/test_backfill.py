"""Backfills: all of a host, or who is named, fetched beside the stream; what a host may do to them; a restart."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ingest.identity import breaker
from ingest.relay import backfill_job
from ingest.relay.backfill_settings import BackfillSettings
from ingest.relay.backfill_view import BackfillView
from ingest.relay.patience import Patience
from ingest.repo.keys import PrivateKey
from schemas.entries import Commit, Diff
from schemas.errors import Refused
from schemas.syntax import Did
from tests.relay.world.host import Host, Member
from tests.relay.world.people import Elsewhere, People, did_of, served
from tests.relay.world.relay import World, until

QUICK = BackfillSettings(per_second=1_000.0, at_once_host=4, at_once=4, first_pause=0.001, slow_first=0.001)


def world_of(directory: Path, people: People, **settings: Any) -> World:
    return World(directory, people, **{"host_accounts": 10_000, "backfill": QUICK, **settings})


async def begin(world: World, host: Host, *, upstream: bool = False) -> BackfillView:
    return world.relay.backfills.of_host(await world.relay.add_host(host.name, upstream=upstream))


async def over(world: World, number: int) -> BackfillView:
    await until(lambda: world.relay.backfills.backfill(number).state != "running", f"backfill {number}")
    return world.relay.backfills.backfill(number)


async def named(world: World, dids: list[Did]) -> BackfillView:
    view = world.relay.backfills.of_accounts()
    world.relay.backfills.name(view.id, dids)
    world.relay.backfills.named(view.id)
    return await over(world, view.id)


def has_all_of(world: World, member: Member) -> bool:
    head = world.log.head(member.did)
    stands = head is not None and (head.rev, head.data, head.partial) == (member.rev, member.data, False)
    return stands and world.paths(member.did) == sorted(member.records)


async def chain_of(world: World, did: str) -> None:
    """What the log has of an account is one chain: each commit and diff on top of the one before."""
    data = rev = None
    for entry in await world.entries():
        if not isinstance(entry, Commit | Diff) or entry.did != did:
            continue
        assert rev is None or entry.rev > rev or (isinstance(entry, Diff) and entry.rev == rev)
        if isinstance(entry, Diff):
            assert (entry.base_data, entry.base_rev) == (data, rev)
            if entry.chunk < entry.chunks - 1:
                continue
        elif data is not None:
            assert entry.prev_data == data
        data, rev = entry.data, entry.rev


async def test_a_host_is_fetched_while_everybody_writes_and_nothing_is_missing_or_twice(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 31)]
        for member in members:
            member.write(40)  # before anybody listened: no event tells of it
        async with world_of(tmp_path, people) as world:
            view = await begin(world, host)
            writing = [member for member in members if member.posts and int(member.did[-1], 36) % 2]
            for turn in range(12):
                await host.say(*(member.write(1 + turn % 3) for member in writing or members))
                await asyncio.sleep(0)
            view = await over(world, view.id)
            await world.taken(host)

            assert view.whole
            assert view.accounts == sum(view.became.values()) == 30
            assert view.became["fetched"] + view.became.get("current", 0) == 30
            assert all(has_all_of(world, member) for member in members)
            assert max(host.fetched.values()) == 1
            for member in members:
                await chain_of(world, member.did)


async def test_who_the_log_has_already_is_not_fetched_again(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 8)]
        for member in members:
            member.write(3)
        async with world_of(tmp_path, people) as world:
            assert (await over(world, (await begin(world, host)).id)).became == {"fetched": 7}
            await host.say(members[0].write())
            await world.taken(host)
            members[1].write()
            again = await over(world, (await begin(world, host)).id)
            by_name = await named(world, [member.did for member in members])

            assert again.became == {"fetched": 1, "current": 6}
            assert by_name.became == {"current": 7}
            assert host.asked["getLatestCommit"] == 7
            assert host.fetched.total() == 8
            assert all(has_all_of(world, member) for member in members)


async def test_what_an_account_says_while_it_is_fetched_comes_after_it(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def slow(request: web.Request) -> web.StreamResponse:
            car = host.members[request.query["did"]].car()
            asked.set()
            await go_on.wait()
            return web.Response(body=car)

        async with world_of(tmp_path, people) as world:
            host.repo = slow
            member.write(5)  # nobody is told
            view = await begin(world, host)
            await asked.wait()
            await host.say(*(member.write() for _ in range(5)))
            await until(lambda: world.relay.host(host.name).seq == host.seq)  # type: ignore[union-attr]
            assert not has_all_of(world, member)
            go_on.set()
            assert (await over(world, view.id)).became == {"fetched": 1}
            await world.taken(host)

            assert has_all_of(world, member)
            assert host.asked["getRepo"] == 1
            await chain_of(world, member.did)


async def test_a_fetch_that_fails_costs_an_account_in_step_nothing(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def never(_request: web.Request) -> web.StreamResponse:
            asked.set()
            await go_on.wait()
            return web.json_response({"error": "RepoTakendown"}, status=400)

        member.write(2)
        await host.say(member.write())  # met in the middle: its head is known, not all of it
        async with world_of(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            host.repo = never
            view = await begin(world, host)
            await asked.wait()
            await host.say(member.write(), member.write())
            await until(lambda: world.relay.host(host.name).seq == host.seq)  # type: ignore[union-attr]
            go_on.set()
            view = await over(world, view.id)
            await world.taken(host)

            assert view.failed == {"repo_gone": 1}
            assert world.relay.backfills.failures(view.id, "", 10) == [
                (member.did, "repo_gone", f"RepoTakendown for the repo of {member.did}")
            ]
            head = world.log.head(member.did)
            assert head is not None
            assert head.rev == member.rev
            assert world.dropped == {}


async def test_a_host_that_does_all_that_hosts_do_is_borne_and_its_lies_are_refused(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host, Host(people) as victim:
        members = [host.add(number) for number in range(1, 9)]
        for member in members:
            member.write(4)
        other = victim.add(90)
        other.write()
        tries: dict[str, int] = {}

        async def moody(request: web.Request) -> web.StreamResponse:
            did = request.query["did"]
            turn = tries[did] = tries.get(did, 0) + 1
            car = host.members[did].car()
            match members.index(host.members[did]), turn:
                case (0, 1):
                    return web.Response(status=429, headers={"Retry-After": "0"})
                case (1, 1):
                    return web.Response(status=429, headers={"RateLimit-Reset": "1"})
                case (2, 1 | 2):
                    return web.Response(status=500)
                case (3, 1):
                    return web.Response(body=car[:-9])
                case (4, 1):
                    request.transport.close()  # type: ignore[union-attr]
                    raise web.HTTPBadGateway
                case (5, _):
                    return web.Response(body=forged)
                case (6, _):
                    return web.Response(status=503)
            return web.Response(body=car)

        thief = Member(6)
        thief.key = PrivateKey.from_bytes("k256", (99).to_bytes(32, "big"))
        thief.write(9)
        forged = thief.car()

        async def lying(request: web.Request) -> web.StreamResponse:
            page = host.page(request.query.get("cursor"), 1_000)
            strangers = [did_of(5_000), other.did]  # nobody, and somebody of another host
            page["repos"] += [{"did": did, "head": "b", "rev": "3aaaaaaaaaaa2", "active": True} for did in strangers]
            page["repos"] += [{"did": "no DID"}, 7, {}]
            return web.json_response(page)

        host.repo, host.listing = moody, lying
        async with world_of(tmp_path, people) as world:
            view = await over(world, (await begin(world, host)).id)
            await world.taken(host)

            assert view.failed == {
                "not_authoritative": 1,
                "did_not_found": 1,
                "list_entry": 3,
                "signature": 1,
                "repo_status": 1,
            }
            assert view.became == {"fetched": 6}
            assert view.accounts == 13
            assert (tries[members[5].did], tries[members[6].did]) == (backfill_job.TRIES, backfill_job.TRIES)
            assert [has_all_of(world, member) for member in members] == [True] * 5 + [False, False, True]
            assert world.log.head(other.did) is None
            assert victim.asked["getRepo"] == 0
            failed = {did: reason for did, reason, _ in world.relay.backfills.failures(view.id, "", 100)}
            assert failed[members[5].did] == "signature"


async def test_a_host_that_hangs_is_given_up(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        member.write()
        over_now = asyncio.Event()

        async def hanging(_request: web.Request) -> web.StreamResponse:
            await over_now.wait()
            return web.Response(status=500)

        host.repo = hanging
        async with world_of(tmp_path, people, patience=Patience(answer=0.2)) as world:
            view = await named(world, [member.did])
            over_now.set()

            assert view.failed == {"repo_slow": 1}
            # A try whose connection took all its time has not come to the host.
            assert 1 < host.asked["getRepo"] <= backfill_job.TRIES


async def test_a_host_that_makes_us_wait_does_not_keep_the_places_that_others_need(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as slow, Host(people) as good:
        waiting = [slow.add(number) for number in range(1, 9)]
        member = good.add(9)
        for each in (*waiting, member):
            each.write()

        async def never(_request: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError

        slow.repo = never
        one = BackfillSettings(per_second=1_000.0, at_once_host=1, at_once=1, first_pause=0.001, slow_first=30.0)
        async with world_of(tmp_path, people, backfill=one, patience=Patience(answer=2.0)) as world:
            view = world.relay.backfills.of_accounts()
            world.relay.backfills.name(view.id, [each.did for each in (*waiting, member)])
            await until(lambda: has_all_of(world, member))

            # It is come back to, once it has been left alone.
            await until(lambda: world.relay.backfills.backfill(view.id).waiting == len(waiting))
            assert slow.asked["getRepo"] <= 1


async def test_a_directory_that_is_away_for_long_fails_nobodys_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(breaker, "LONGEST_PAUSE", 0.2)
    people = People()
    async with served(people) as url, Host(people) as host:
        members = [host.add(number) for number in range(1, 31)]
        for member in members:
            member.write()
        elsewhere = Elsewhere(people, url)
        async with world_of(tmp_path, elsewhere) as world:
            people.away = True
            view = await begin(world, host)
            # Longer than all tries of an account take.
            await until(lambda: elsewhere.plc.breaker.opened > 2 + backfill_job.TRIES)
            waiting = world.relay.backfills.backfill(view.id)
            people.away = False
            view = await over(world, view.id)

            assert (waiting.waiting, waiting.failed) == (30, {})
            assert (view.became, view.failed) == ({"fetched": 30}, {})
            # It is not asked by whoever waits, over and over.
            assert elsewhere.plc.outcomes["turned_away"] < 40 * elsewhere.plc.breaker.opened
        await elsewhere.http.close()


async def test_a_list_is_read_page_after_page_and_one_in_a_ring_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill_job, "PAGE", 7)
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 31)]
        for member in members:
            member.write()
        first = itertools.count()

        async def failing(request: web.Request) -> web.StreamResponse:
            if not next(first):
                return web.Response(status=502)
            return web.json_response(host.page(request.query.get("cursor"), int(request.query["limit"])))

        async def ring(request: web.Request) -> web.StreamResponse:
            return web.json_response({**host.page("0", 7), "cursor": "x" if request.query.get("cursor") else "y"})

        async with world_of(tmp_path, people) as world:
            host.listing = failing
            whole = await over(world, (await begin(world, host)).id)
            host.listing = ring
            endless = await over(world, (await begin(world, host)).id)

            assert whole.became == {"fetched": 30}
            assert host.asked["listRepos"] == 6 + 3
            assert all(has_all_of(world, member) for member in members)
            assert not endless.whole
            assert "goes in a ring" in (endless.trouble or "")


async def test_who_is_not_active_is_recorded_as_that_and_not_fetched(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 5)]
        for member in members:
            member.write()
        host.statuses = {members[0].did: "deactivated", members[1].did: "takendown", members[2].did: "what is this"}
        async with world_of(tmp_path, people) as world:
            view = await over(world, (await begin(world, host)).id)

            assert view.became == {"fetched": 1, "inactive": 3}
            heads = [world.log.head(member.did) for member in members]
            found = [head and head.effective_status for head in heads]
            assert found == ["deactivated", "takendown", "deactivated", "active"]
            assert host.fetched == {members[3].did: 1}


async def test_a_host_brings_no_more_accounts_than_it_may(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        for number in range(1, 8):
            host.add(number).write()
        async with world_of(tmp_path, people, host_accounts=3) as world:
            view = await over(world, (await begin(world, host)).id)

            assert view.became == {"fetched": 3}
            assert view.failed == {"host_accounts": 4}
            assert world.relay.store.counts[host.name] == 3


async def test_a_relay_is_asked_whom_there_is_and_their_hosts_for_their_repos(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as one, Host(people) as two, Host(people, server="atproto-relay") as relay:
        members = [one.add(1), one.add(2), two.add(3)]
        for member in members:
            member.write(2)
            relay.members[member.did] = member
        async with world_of(tmp_path, people) as world:
            view = await over(world, (await begin(world, relay, upstream=True)).id)

            assert view.became == {"fetched": 3}
            assert (one.fetched.total(), two.fetched.total(), relay.fetched.total()) == (2, 1, 0)
            assert all(has_all_of(world, member) for member in members)


async def test_one_that_is_stopped_leaves_what_is_done_and_one_that_goes_on_begins_where_it_was(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 21)]
        for member in members:
            member.write(2)
        go_on = asyncio.Event()

        async def after_some(request: web.Request) -> web.StreamResponse:
            did = request.query["did"]
            if host.fetched.total() >= 8:
                await go_on.wait()
            host.fetched[did] += 1
            return web.Response(body=host.members[did].car())

        host.repo = after_some
        async with world_of(tmp_path, people) as world:
            number = (await begin(world, host)).id
            await until(lambda: world.relay.backfills.backfill(number).became.get("fetched", 0) >= 8)
            await world.close()  # in the middle of some
            go_on.set()
            await world.open()
            view = await over(world, number)
            await world.taken(host)

            assert view.whole
            assert view.accounts == sum(view.became.values()) == 20
            assert all(has_all_of(world, member) for member in members)
            assert host.fetched.total() <= 20 + QUICK.at_once  # those that were under way

            go_on.clear()
            for member in members:
                member.write()
            number = (await begin(world, host)).id
            await until(lambda: host.asked["getRepo"] > 20 + QUICK.at_once)
            stopped = world.relay.backfills.stop(number)
            go_on.set()
            await until(lambda: not len(world.relay.resync))

            assert stopped.state == "stopped"
            assert stopped.waiting == 0
            for member in members:
                await chain_of(world, member.did)
            with pytest.raises(Refused, match="no backfill 99"):
                world.relay.backfills.stop(99)
