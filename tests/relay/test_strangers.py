"""Accounts that nobody can tell who they are: they wait, others go on, and once it can be told nothing is missing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ingest.identity import breaker
from ingest.identity.handles import HandleResolver
from ingest.identity.plc_client import PlcHttp
from ingest.identity.plc_paced import PacedPlc
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.resolver import IdentityResolver
from ingest.relay import strangers
from schemas.entries import Account, Commit, Identity
from schemas.syntax import Did
from tests.relay.test_crash import heads, prepare, started
from tests.relay.world.host import Host, Member
from tests.relay.world.people import People, _NoDns, _NoWeb, served
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


class Elsewhere(People):
    """A directory that is asked over HTTP, as a relay does."""

    def __init__(self, people: People, url: str) -> None:
        super().__init__()
        self.http = PlcHttp(url)
        self.plc = PacedPlc(self.http)
        self.put = people.put  # type: ignore[method-assign]

    def resolver(self) -> IdentityResolver:
        return IdentityResolver(self.plc, HandleResolver(_NoDns(), _NoWeb()), _NoWeb())


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
