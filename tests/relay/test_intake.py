"""Other people's hosts into the log: what is true enters in order, whoever says it; the rest is counted."""

from __future__ import annotations

from pathlib import Path

from ingest.repo.keys import PrivateKey
from schemas.entries import Account, Commit, Diff, Identity, Sync
from schemas.syntax import Handle
from tests.relay.world.host import Host, frame_of
from tests.relay.world.people import People
from tests.relay.world.relay import World, until


def stands_at(world: World, member) -> bool:
    head = world.log.head(member.did)
    return head is not None and (head.rev, head.data) == (member.rev, member.data)


async def test_what_a_host_says_is_in_the_log_in_order(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 4)]
        await host.say(*(member.write() for _ in range(5) for member in members))
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            await host.say(*(member.write(3) for member in members))
            await world.taken(host)

            for member in members:
                head = world.log.head(member.did)
                assert head is not None
                assert stands_at(world, member)
                assert not head.partial
                assert world.paths(member.did) == sorted(member.records)
            assert not world.dropped
            assert len(await world.entries()) == 18


async def test_another_host_cannot_speak_for_an_account(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as home, Host(people) as liar:
        member = home.add(1)
        begin, forged = member.write(), member.write()
        await home.say(begin)
        async with World(tmp_path, people, crawl=(home.name, liar.name)) as world:
            await world.taken(home)
            await liar.say(forged)
            await liar.account(member.did, "deleted")
            await liar.identity(member.did)
            await world.taken(liar)

            assert world.dropped == {"not_authoritative": 3}
            assert await world.entries() != []
            assert all(isinstance(entry, Commit) for entry in await world.entries())
            assert len(await world.entries()) == 1


async def test_an_account_that_moves_is_read_at_its_new_host_alone(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as old, Host(people) as new:
        member = old.add(1)
        await old.say(member.write())
        async with World(tmp_path, people, crawl=(old.name, new.name)) as world:
            await world.taken(old)
            people.put(member.did, member.key, new.url)
            await new.say(member.write())
            await world.taken(new)
            late = member.write()
            await old.say(late)
            await world.taken(old)

            assert world.dropped == {"not_authoritative": 1}
            account = world.relay.account(member.did)
            assert account is not None
            assert account.host == new.name
            assert world.relay.host(old.name).account_count == 0  # type: ignore[union-attr]
            assert world.relay.host(new.name).account_count == 1  # type: ignore[union-attr]


async def test_a_key_rotated_in_mid_stream_costs_one_refresh(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write(), member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            asked = people.asked[member.did]
            host.rekey(member, 77)
            await host.say(member.write(), member.write(), member.write())
            await world.taken(host)

            assert people.asked[member.did] == asked + 1
            assert not world.dropped
            assert stands_at(world, member)


async def test_a_wrong_key_is_refused_after_one_refresh_and_asks_no_storm_of_them(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            member.key = PrivateKey.from_bytes("k256", (99).to_bytes(32, "big"))
            await host.say(*(member.write() for _ in range(200)))
            await world.taken(host)

            assert world.dropped == {"signature": 200}
            assert len(await world.entries()) == 1
            assert people.asked[member.did] < 60


async def test_an_account_that_is_not_active_writes_nothing_until_its_host_says_so(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await host.account(member.did, "deactivated")
            await world.taken(host)
            spare = member.write()
            await host.say(spare)
            await world.taken(host)
            assert world.dropped == {"account_inactive": 1}
            await host.account(member.did, None)
            await host.say(member.write())
            await world.taken(host)

            assert stands_at(world, member)  # by getRepo: what it wrote while it was closed was dropped
            assert [e.status for e in await world.entries() if isinstance(e, Account)] == ["deactivated", "active"]
            assert world.paths(member.did) == sorted(member.records)


async def test_a_deletion_is_one_entry_and_buries_all_records(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(*(member.write(100) for _ in range(15)))
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            assert len(world.paths(member.did)) == 1_500
            before = len(await world.entries())
            del people.documents[member.did]  # its last host may still say so
            world.resolver.forget(member.did)
            await host.account(member.did, "deleted")
            await world.taken(host)

            assert len(await world.entries()) == before + 1
            assert world.paths(member.did) == []
            assert world.relay.account(member.did).status == "deleted"  # type: ignore[union-attr]


async def test_an_account_of_ones_own_is_written_by_nobody_else(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,), hosted=lambda did: did == member.did) as world:
            await world.taken(host)

            assert world.dropped == {"hosted_here": 1}
            assert await world.entries() == []


async def test_an_upstream_relay_passes_on_what_other_hosts_said(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as upstream, Host(people) as home:
        member = home.add(1)
        async with World(tmp_path, people) as world:
            await world.relay.add_host(upstream.name, upstream=True)
            await until(lambda: upstream.cursors)
            await until(lambda: world.relay.host(upstream.name).status == "active")  # type: ignore[union-attr]
            await upstream.say(member.write(), member.write())
            stranger = home.add(2)
            stranger.key = PrivateKey.from_bytes("k256", (99).to_bytes(32, "big"))
            await upstream.say(stranger.write())
            await world.taken(upstream)

            assert world.dropped == {"signature": 1}
            assert stands_at(world, member)
            account = world.relay.account(member.did)
            assert account is not None
            assert account.host == home.name


async def test_a_directory_that_is_away_for_a_moment_loses_nothing(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        people.away = True
        await host.say(member.write(), member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await until(lambda: people.asked[member.did] >= 2)
            people.away = False
            await until(lambda: stands_at(world, member), str(world.dropped))

            assert not world.dropped


async def test_a_sync_that_changes_data_brings_the_repo_and_one_that_does_not_brings_nothing(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            await host.sync(member)
            await world.taken(host)
            assert host.asked["getRepo"] == 0
            member.write(5)  # nobody is told
            await host.sync(member)
            await world.taken(host)

            assert host.asked["getRepo"] == 1
            assert [type(entry) for entry in await world.entries()] == [Commit, Sync, Sync, Diff]
            assert world.paths(member.did) == sorted(member.records)


async def test_an_identity_event_asks_anew_and_puts_the_verified_handle_into_the_log(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)

            async def as_claimed(_did, document, fresh):
                assert fresh
                return document.handles[0]

            world.relay.intake.judge.handle_of = as_claimed
            people.put(member.did, member.key, host.url, "somebody.example")
            await host.identity(member.did)
            await world.taken(host)

            found = [entry for entry in await world.entries() if isinstance(entry, Identity)]
            assert [entry.handle for entry in found] == [Handle("somebody.example")]


async def test_two_relays_on_one_log_cannot_fork_an_account(tmp_path: Path) -> None:
    """Two hosts claim an account by turns: whichever comes first is the head, the other's is dropped."""
    people = People()
    async with Host(people) as first, Host(people) as second:
        member = first.add(1)
        begin = member.write()
        await first.say(begin)
        await second.say(begin)
        async with World(tmp_path, people) as world:
            await world.relay.add_host(first.name, upstream=True)
            await world.relay.add_host(second.name, upstream=True)
            await until(lambda: len(first.cursors) + len(second.cursors) == 2)
            commits = [member.write() for _ in range(50)]
            for commit in commits:
                await first.say(commit)
                await second.say(commit)
            await until(lambda: stands_at(world, member), str(world.dropped))
            await world.taken(first)
            await world.taken(second)

            entries = [entry for entry in await world.entries() if isinstance(entry, Commit)]
            revs = [entry.rev for entry in entries]
            assert revs == sorted(set(revs))
            assert revs[-50:] == [commit.rev for commit in commits]
            assert set(world.dropped) <= {"rev_stale", "duplicate", "stale_rev"}


async def test_frames_are_passed_on_byte_for_byte(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        commits = [member.write() for _ in range(3)]
        await host.say(*commits)
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)

            served = [event.frame() for event in await world.log.read_firehose(0, 10)]
            assert served == [frame_of(seq, commit) for seq, commit in enumerate(commits, 1)]
