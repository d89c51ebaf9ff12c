"""What a host and an account may send: slowed, refused or caught up with, and nobody else the worse for it."""

from __future__ import annotations

from pathlib import Path

from ingest.relay import subscription
from ingest.relay.directory import HostLimits
from schemas.entries import Commit
from tests.relay.world.host import Host
from tests.relay.world.people import People
from tests.relay.world.relay import World, until


async def test_a_host_has_no_more_accounts_than_it_may(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 6)]
        await host.say(*(member.write() for member in members))
        async with World(tmp_path, people, crawl=(host.name,), host_accounts=3) as world:
            await world.taken(host)
            assert world.dropped == {"host_accounts": 2}
            assert world.relay.host(host.name).account_count == 3  # type: ignore[union-attr]
            await world.relay.set_limits(host.name, HostLimits(accounts=4), trusted=False)
            await host.say(*(member.write() for member in members))
            await world.taken(host)
            assert world.relay.host(host.name).account_count == 4  # type: ignore[union-attr]
            await world.reopen()
            assert world.relay.host(host.name).account_count == 4  # type: ignore[union-attr]
            await world.relay.set_limits(host.name, HostLimits(), trusted=True)
            await host.say(*(member.write() for member in members))
            await world.taken(host)

            assert world.relay.host(host.name).account_count == 5  # type: ignore[union-attr]


async def test_a_host_that_sends_too_much_is_slowed_and_others_are_not(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as loud, Host(people) as calm:
        noisy, other = loud.add(1), calm.add(2)
        async with World(tmp_path, people, crawl=(loud.name, calm.name)) as world:
            await world.relay.set_limits(loud.name, HostLimits(per_hour=20), trusted=False)
            await loud.say(*(noisy.write() for _ in range(40)))
            await until(lambda: world.relay.host(loud.name).status == "throttled")  # type: ignore[union-attr]
            await until(lambda: (world.relay.host(loud.name).seq or 0) >= 20)  # type: ignore[union-attr]
            await calm.say(*(other.write() for _ in range(40)))
            await world.taken(calm)

            assert world.relay.host(loud.name).seq == 20  # type: ignore[union-attr]
            assert world.relay.host(calm.name).seq == 40  # type: ignore[union-attr]
            assert not world.dropped


async def test_an_account_that_sends_too_much_is_dropped_and_caught_up_with(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        noisy, other = host.add(1), host.add(2)
        await host.say(*(noisy.write() for _ in range(10)), other.write())
        async with World(tmp_path, people, crawl=(host.name,), account_events_hour=5) as world:
            await world.taken(host)

            assert world.dropped == {"account_quota": 5}
            assert len(await world.entries()) == 6
            await world.reopen()  # as an hour later
            await host.say(noisy.write())
            await world.taken(host)
            assert world.log.head(noisy.did).rev == noisy.rev  # type: ignore[union-attr]
            assert world.paths(noisy.did) == sorted(noisy.records)


async def test_nobody_else_can_use_up_what_an_account_may_send(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as home, Host(people) as liar:
        member = home.add(1)
        commits = [member.write() for _ in range(5)]
        await liar.say(*commits, *commits)
        async with World(tmp_path, people, crawl=(liar.name,), account_events_hour=5) as world:
            await world.taken(liar)
            assert world.dropped == {"not_authoritative": 10}
            await home.say(*commits)
            await world.relay.add_host(home.name)
            await world.taken(home)

            assert len(await world.entries()) == 5


async def test_one_account_that_is_slow_holds_up_its_own_host_alone(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as slow, Host(people) as quick:
        stuck, free = slow.add(1), quick.add(2)
        document = people.document

        async def waits(did: str):
            if did == stuck.did:
                await until(lambda: len(released) == 1)
            return await document(did)  # type: ignore[arg-type]

        released: list[int] = []
        people.document = waits  # type: ignore[method-assign, assignment]
        await slow.say(*(stuck.write() for _ in range(300)))
        async with World(tmp_path, people, crawl=(slow.name, quick.name)) as world:
            await until(lambda: world.relay.running(slow.name).progress.waiting >= subscription._ROOM_HOST)
            await quick.say(*(free.write() for _ in range(300)))
            await world.taken(quick)
            assert world.relay.running(slow.name).progress.waiting <= subscription._ROOM_HOST + 1
            released.append(1)
            await world.taken(slow)

            assert sum(isinstance(entry, Commit) for entry in await world.entries()) == 600
