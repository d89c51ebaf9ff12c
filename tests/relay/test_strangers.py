"""Accounts that nobody can tell who they are: they wait, others go on, and once it can be told nothing is missing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import AsyncMock, Mock

import pytest

from ingest.identity import breaker
from ingest.identity.handles import HandleResolver
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.resolver import IdentityResolver
from ingest.log_sqlite.log import SqliteLog
from ingest.log_sqlite.schema import open_reader, rows_of
from ingest.relay import strangers
from ingest.relay.lines import Lines
from ingest.relay.source import Numbered, Source
from ingest.repo.frame import decode_frame
from schemas import cbor
from schemas.entries import Account, Commit, Identity
from schemas.syntax import Did
from tests.relay.test_crash import cursor, heads, prepare, started
from tests.relay.world.host import MOMENT, Host, Member, frame_of
from tests.relay.world.people import Elsewhere, People, _NoDns, _NoWeb, served
from tests.relay.world.relay import World, until


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the directory was away, it is tried again within seconds."""
    monkeypatch.setattr(strangers, "_LAST_PAUSE", 1.0)
    monkeypatch.setattr(breaker, "LONGEST_PAUSE", 2.0)


def in_step(world: World, member: Member) -> bool:
    head = world.log.head(member.did)
    return head is not None and (head.rev, head.data) == (member.rev, member.data)


def all_taken(world: World, host: Host) -> bool:
    """Nothing is under way, held, or out of step."""
    relay = world.relay
    known = relay.host(host.name)
    done = known is not None and (known.seq or 0) >= host.seq
    return done and not len(relay.strangers) and not len(relay.resync)


async def test_strangers_wait_while_the_directory_is_away_and_whoever_is_known_goes_on(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        known = host.add(1)
        members = [host.add(number) for number in range(2, 17)]
        await host.say(known.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            people.away = True
            for member in members:
                await host.identity(member.did)
                await host.account(member.did, None)
                await host.say(member.write(), member.write(), known.write())
            await until(lambda: len(world.relay.strangers) == len(members), "all wait")
            # The stream has gone on, and the account that is known with it.
            await until(lambda: in_step(world, known))
            await until(lambda: (world.relay.host(host.name).seq or 0) >= host.seq)  # type: ignore[union-attr]
            assert world.relay.strangers.messages == 4 * len(members)
            assert not world.dropped

            people.away = False
            await until(lambda: all_taken(world, host))
            assert not world.dropped
            for member in members:
                assert in_step(world, member)
                assert world.paths(member.did) == sorted(member.records)
                found = [entry for entry in await world.entries() if getattr(entry, "did", None) == member.did]
                assert [type(entry) for entry in found] == [Identity, Account, Commit, Commit]
            assert (world.relay.strangers.messages, world.relay.strangers.held_bytes) == (0, 0)
            assert host.asked["getRepo"] == 0
            assert world.relay.store.repairs() == []


async def test_strangers_who_turn_out_to_live_with_us_are_refused_and_the_relay_goes_on(tmp_path: Path) -> None:
    """As a relay of a cluster meets accounts of its own PDSes behind an upstream relay."""
    people = People()
    async with Host(people) as host:
        ours, other = host.add(1), host.add(2)
        people.put(ours.did, ours.key, "https://pds.example.com")
        async with World(tmp_path, people, neighbours=frozenset({"pds.example.com"})) as world:
            people.away = True
            await world.relay.add_host(host.name, upstream=True)
            await until(lambda: host.cursors)
            await host.say(ours.write(), ours.write(), other.write())
            await until(lambda: len(world.relay.strangers) == 2)
            people.away = False
            await until(lambda: all_taken(world, host))

            assert in_step(world, other)
            assert world.log.head(ours.did) is None
            assert world.dropped == {"hosted_here": 2}
            assert world.relay.store.repairs() == []


async def test_what_does_not_fit_is_fetched_once_it_is_known_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "HELD_MESSAGES", 3)
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            people.away = True
            await host.say(*(member.write() for _ in range(10)))
            await until(lambda: world.dropped["catching_up"] == 7)
            people.away = False
            await until(lambda: all_taken(world, host))

            assert in_step(world, member)
            assert world.paths(member.did) == sorted(member.records)
            assert host.asked["getRepo"] == 1


@pytest.mark.parametrize("limit", ["ACCOUNTS_MAX", "HELD_BYTES"])
async def test_how_many_wait_and_with_how_much_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(strangers, limit, 2 if limit == "ACCOUNTS_MAX" else 3_000)
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 9)]
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            people.away = True
            await host.say(*(member.write() for member in members))
            await until(lambda: (world.relay.host(host.name).seq or 0) >= host.seq)  # type: ignore[union-attr]
            held = world.relay.strangers
            assert 0 < held.messages == 8 - world.dropped["catching_up"] < 8
            assert held.held_bytes <= strangers.HELD_BYTES
            people.away = False
            await until(lambda: all_taken(world, host))
            # Who was counted as dropped is met again with what it says next.
            await host.say(*(member.write() for member in members))
            await until(lambda: all_taken(world, host) and all(in_step(world, member) for member in members))


async def test_a_relay_that_ends_while_strangers_wait_fetches_them(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            people.away = True
            await host.say(member.write(), member.write())
            await until(lambda: (world.relay.host(host.name).seq or 0) >= host.seq)  # type: ignore[union-attr]
            await world.reopen()
            assert len(world.relay.resync) == 1
            people.away = False
            await until(lambda: all_taken(world, host))

            assert in_step(world, member)
            assert host.cursors == [0, 2] or host.cursors[-1] == 2
            assert host.asked["getRepo"] == 1


async def test_what_waiting_accounts_said_of_themselves_outlives_a_kill(tmp_path: Path) -> None:
    people = People()
    directory = tmp_path / "relay"
    async with Host(people) as host, served(people) as plc:
        gone, back, renamed = (host.add(number) for number in (1, 2, 3))
        prepare(directory, host)
        await host.say(renamed.write())
        role = await asyncio.to_thread(started(directory, plc).start)
        try:
            await until(lambda: heads(directory) == {renamed.did: renamed.rev})
            people.put(renamed.did, renamed.key, host.url, "other.invalid")
            people.away = True
            await host.say(gone.write(), back.write())
            for did, status in ((gone.did, "deactivated"), (back.did, "suspended"), (back.did, None)):
                await host.account(did, status)
            await host.identity(renamed.did)
            # The cursor has passed what waits, which nobody says again.
            await until(lambda: cursor(directory) == host.seq)
            await asyncio.to_thread(role.kill)
            people.away = False
            role = await asyncio.to_thread(started(directory, plc).start)
            await until(lambda: set(heads(directory)) == {gone.did, back.did, renamed.did})
            await until(lambda: statuses(directory)[gone.did] == "deactivated")
            await until(lambda: not waiting(directory))
            assert await asyncio.to_thread(role.stop) == 0
        finally:
            role.kill()
    assert host.cursors == [0, host.seq]
    assert statuses(directory) == {gone.did: "deactivated", back.did: "active", renamed.did: "active"}
    identities = [entry for entry in await entries(directory) if isinstance(entry, Identity)]
    assert [entry.did for entry in identities].count(renamed.did) == 2


def statuses(directory: Path) -> dict[str, str]:
    con = open_reader(directory / "log.sqlite")
    try:
        return dict(rows_of(con, "SELECT did, status FROM heads"))
    finally:
        con.close()


def waiting(directory: Path) -> list[tuple[str]]:
    con = open_reader(directory / "relay.sqlite")
    try:
        return rows_of(con, "SELECT did FROM told UNION SELECT did FROM repairs")
    finally:
        con.close()


async def entries(directory: Path) -> list[object]:
    log = await SqliteLog.open(directory / "log.sqlite")
    try:
        return [entry for _, entry in await log.read_commits(0, 0, 1_000)]
    finally:
        await log.close()


async def test_an_account_that_says_much_of_itself_is_held_by_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "HELD_BYTES", 1_000_000)
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            people.away = True
            for _ in range(20):
                body = {"seq": host.seq + 1, "did": member.did, "time": MOMENT, "active": True, "more": "x" * 100_000}
                await host.say(cbor.encode({"op": 1, "t": "#account"}) + cbor.encode(body))
            await until(lambda: (world.relay.host(host.name).seq or 0) >= host.seq)  # type: ignore[union-attr]

            assert world.relay.strangers.messages == 9
            assert world.dropped == {"catching_up": 11}


async def test_a_repair_that_ends_leaves_what_is_held_to_be_fetched_after_a_crash(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            known = world.relay.running(host.name)
            assert known is not None
            world.relay.strangers.hold(known, decode_frame(frame_of(9, member.write())))  # type: ignore[arg-type]
            people.away = True
            world.relay.resync._forget(member.did)
            world.relay.store.flush()

            assert [did for did, _, _ in world.relay.store.repairs()] == [member.did]


async def test_hosts_of_did_webs_that_let_us_wait_do_not_hold_up_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "AT_ONCE", 2)
    people = StuckWeb()
    async with Host(people) as host:
        member = host.add(1)
        webs = [host.add(number) for number in range(2, 10)]
        for number, web in enumerate(webs):
            web.did = Did(f"did:web:host{number}.example.com")
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            known = world.relay.running(host.name)
            assert known is not None
            for seq, web in enumerate(webs):
                world.relay.strangers.hold(known, decode_frame(frame_of(seq + 1, web.write())))  # type: ignore[arg-type]
            await until(lambda: people.stuck == 2)
            world.relay.strangers.hold(known, decode_frame(frame_of(99, member.write())))  # type: ignore[arg-type]
            await until(lambda: in_step(world, member))
            assert people.stuck == 2
            people.go_on.set()


async def test_one_that_turns_out_to_be_nobody_is_dropped_by_reason(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            people.away = True
            await host.say(member.write(), member.write())
            await until(lambda: len(world.relay.strangers) == 1)
            del people.documents[member.did]
            people.away = False
            await until(lambda: all_taken(world, host))

            assert world.dropped == {"did_not_found": 2}
            assert await world.entries() == []


class AwayWeb(People):
    """Hosts of did:webs do not answer."""

    def resolver(self) -> IdentityResolver:
        return IdentityResolver(self, HandleResolver(_NoDns(), _NoWeb()), self)

    async def get(self, url: str, limit: int, accept: str = "*/*", redirects: int = 3) -> object:  # noqa: ARG002
        raise IdentityRefused(IdentityReason.TIMEOUT, url)


class StuckWeb(People):
    """Hosts of did:webs take a connection and say nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = 0
        self.go_on = asyncio.Event()

    def resolver(self) -> IdentityResolver:
        return IdentityResolver(self, HandleResolver(_NoDns(), _NoWeb()), self)

    async def get(self, url: str, limit: int, accept: str = "*/*", redirects: int = 3) -> object:  # noqa: ARG002
        self.stuck += 1
        await self.go_on.wait()
        raise IdentityRefused(IdentityReason.TIMEOUT, url)


async def test_the_host_of_a_did_web_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "_TRIES_WEB", 3)
    people = AwayWeb()
    async with Host(people) as host:
        member = host.add(1)
        member.did = Did("did:web:gone.example.com")
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await host.say(member.write(), member.write())
            await until(lambda: (world.relay.host(host.name).seq or 0) >= host.seq)  # type: ignore[union-attr]
            await until(lambda: all_taken(world, host))

            assert world.dropped == {"timeout": 2}
            assert world.relay.store.repairs() == []


async def test_hundreds_of_strangers_are_no_storm_on_a_directory_that_fails(tmp_path: Path) -> None:
    people = People()
    async with served(people) as url, Host(people) as host:
        members = [host.add(number) for number in range(1, 81)]
        elsewhere = Elsewhere(people, url)
        async with World(tmp_path, elsewhere, crawl=(host.name,), host_accounts=1_000) as world:
            people.away = True
            await host.say(*(member.write() for member in members))
            await until(lambda: len(world.relay.strangers) == len(members))
            # Each time the breaker opens again it has asked once.
            opened = elsewhere.plc.breaker.opened
            assert sum(people.asked.values()) <= breaker.FAILURES + breaker.FIRST_LIMIT + opened
            assert elsewhere.plc.outcomes["turned_away"] > len(members)

            people.away = False
            await until(lambda: all_taken(world, host))
            assert not world.dropped
            assert all(in_step(world, member) for member in members)
            assert elsewhere.plc.breaker.state == "closed"
        await elsewhere.http.close()


async def test_a_relay_process_that_starts_again_while_the_directory_is_away_knows_whom_it_knew(tmp_path: Path) -> None:
    people = People()
    directory = tmp_path / "relay"
    async with Host(people) as host, served(people) as plc:
        members = [host.add(number) for number in range(1, 11)]

        def in_log() -> bool:
            return heads(directory) == {member.did: member.rev for member in members}

        prepare(directory, host)
        role = await asyncio.to_thread(started(directory, plc).start)
        try:
            await host.say(*(member.write() for member in members))
            await until(in_log)
            assert await asyncio.to_thread(role.stop) == 0
            people.away = True
            asked = people.asked.total()
            role = await asyncio.to_thread(started(directory, plc).start)
            await host.say(*(member.write() for member in members))
            await until(in_log)
            assert people.asked.total() == asked
            assert await asyncio.to_thread(role.stop) == 0
        finally:
            role.kill()


async def test_what_is_not_held_again_after_a_crash_is_not_said_at_a_later_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            people.away = True
            await host.say(member.write())
            await host.account(member.did, "deactivated")
            await until(lambda: world.relay.strangers.messages == 2)
            with monkeypatch.context() as patch:
                patch.setattr(strangers, "HELD_BYTES", 0)
                await world.reopen()
                assert world.relay.strangers.messages == 0
            await world.reopen()

            assert world.relay.strangers.messages == 0
            assert waiting(world.directory) == [(member.did,)]  # its repo is to be fetched


async def test_who_cannot_be_told_once_more_is_held_anew_where_no_more_may_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strangers, "ACCOUNTS_MAX", 1)
    message = SimpleNamespace(did=Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), head=b"", tail=b"")
    took, refused = Mock(), Mock()
    source = SimpleNamespace(name="h", took=took, refused=refused)
    tries = 0

    async def take(to: Source, taken: Numbered) -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            waiting_room.hold(to, taken)
        return "accepted" if tries > 1 else "held"

    resolver = Mock(did_document=AsyncMock(return_value=SimpleNamespace(pds="https://pds.example.com")))
    repairs = Mock(holds=Mock(return_value=False))
    waiting_room = strangers.Strangers(take, Lines(), resolver, repairs, Mock(), first_pause=0.01)
    waiting_room.hold(source, message)  # type: ignore[arg-type]
    running = asyncio.create_task(waiting_room.run())
    await until(lambda: not len(waiting_room))
    running.cancel()

    assert [call.args[0] for call in took.call_args_list] == ["held", "accepted"]
    assert not refused.called
