"""A host whose numbers begin anew (a restored backup, a lost database): noticed, counted, read from its oldest.

Nothing is lost and nothing comes twice; who only says again what it said is not taken for one, and who pretends is not
believed for ever.
"""

from __future__ import annotations

from pathlib import Path

from ingest.relay.numbering import NEWS, RESTARTS
from schemas.entries import Commit
from tests.relay.world.host import Host, Member
from tests.relay.world.people import People
from tests.relay.world.relay import World, until


def stands_at(world: World, *members: Member) -> bool:
    heads = [world.log.head(member.did) for member in members]
    return all(head is not None and head.rev == member.rev for head, member in zip(heads, members, strict=True))


async def revs(world: World, member: Member) -> list[str]:
    return [entry.rev for entry in await world.entries() if isinstance(entry, Commit) and entry.did == member.did]


def restored(host: Host) -> None:
    """Its accounts are as they were, its numbers are not."""
    host.seq = 0
    host.events.clear()


async def test_a_host_that_says_our_cursor_is_in_its_future_is_read_from_its_oldest(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member, other = host.add(1), host.add(2)
        before = [member.write() for _ in range(10)]
        await host.say(*before, other.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            await host.stop()
            restored(host)
            missed = [other.write(), member.write()]  # while nobody reads: `other` says nothing after
            await host.say(*missed)
            await host.start()
            await until(lambda: stands_at(world, member, other))
            later = member.write()
            await host.say(later)
            await until(lambda: stands_at(world, member))

            assert host.cursors == [0, 11, 0]
            assert world.dropped["future_cursor"] == 1
            assert await revs(world, member) == [commit.rev for commit in (*before, missed[1], later)]
            await world.reopen()
            await until(lambda: host.cursors[-1] == host.seq)


async def test_news_under_old_numbers_have_the_host_read_from_its_oldest(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 6)]
        host.stream = lambda socket, _cursor: host.honest(socket, 0)  # it heeds no cursor
        for _ in range(20):
            await host.say(*(member.write() for member in members))
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            await host.stop()
            restored(host)
            await host.say(*(member.write() for member in members))  # once each, and then nothing
            await host.start()
            await until(lambda: stands_at(world, *members))

            assert host.cursors == [0, 100, 0]
            assert world.dropped["seq_reset"] == 1
            assert world.dropped["seq_stale"] == NEWS - 1
            for member in members:
                assert len(await revs(world, member)) == len(set(await revs(world, member))) == 21
            await world.reopen()
            await until(lambda: host.cursors[-1] == 5)


async def test_a_host_that_says_again_what_it_said_goes_on_where_it_was(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 4)]
        host.stream = lambda socket, _cursor: host.honest(socket, 0)
        await host.say(*(member.write() for _ in range(10) for member in members))
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            for _ in range(3):
                seen = len(host.cursors)
                await host.cut()
                await until(lambda seen=seen: len(host.cursors) > seen)
                await host.say(members[0].write())
                await until(lambda: stands_at(world, members[0]))

            assert host.cursors == [0, 30, 31, 32]
            assert not world.dropped["seq_reset"]
            assert world.dropped["seq_stale"] == 30 + 31 + 32
            assert len(await world.entries()) == 33


async def test_a_host_that_pretends_for_ever_is_read_from_now_in_the_end(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(*(member.write() for _ in range(5)))
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            for turn in range(int(RESTARTS.most) + 1):
                await host.stop()
                restored(host)
                host.seq = 0 if turn % 2 else 1
                await host.start()
                await until(lambda turn=turn: world.dropped["future_cursor"] > turn)
                await until(lambda turn=turn: len(host.cursors) == 2 * turn + 3)
                await host.say(*(member.write() for _ in range(5 - turn % 2)))
                await until(lambda: stands_at(world, member))

            assert host.cursors[2::2] == [0] * int(RESTARTS.most) + [None]
            assert len(await revs(world, member)) == len(set(await revs(world, member)))
