"""Two relays, each a process with its own log, upstream of a third: it is told everything twice and keeps one chain.

The two are stopped, killed and brought back by turns, so that what they say comes interleaved, late and again.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import defaultdict
from pathlib import Path

import pytest

from ingest.log_sqlite.log import SqliteLog
from ingest.relay.directory import HostLimits
from ingest.relay.hosts_store import HostRow, HostsStore
from ingest.repo.frame import decode_frame
from ingest.repo.messages import CommitMessage
from schemas.cid import Cid
from schemas.entries import Commit
from tests.relay.world.host import START, Host, Member
from tests.relay.world.people import People, served
from tests.relay.world.relay import World, until
from tests.support.roles import Role

SEED = int(os.environ.get("HEADRACE_CHAOS_SEED", "11"))
MEMBERS = 6
ROUNDS = 5
ROUND = 120  # commits

pytestmark = pytest.mark.chaos


def relay(directory: Path, plc: str, host: Host) -> Role:
    """A relay process that trusts the host: it may send as much as this test does."""
    _knows(directory, HostRow(0, host.name, host.url, None, START, False, False, True, False, HostLimits()))
    settings = {"plc_url": plc, "allow_private_addresses": "true", "relay_port": "0", "log_level": "warning"}
    return Role("relay", directory, settings)


def stands_at(world: World, members: list[Member]) -> bool:
    heads = [world.log.head(member.did) for member in members]
    return all(head is not None and head.rev == member.rev for head, member in zip(heads, members, strict=True))


async def test_an_account_told_by_two_relays_has_one_chain(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    print(f"HEADRACE_CHAOS_SEED={SEED}")
    people = People()
    said: dict[str, list[str]] = defaultdict(list)
    async with Host(people) as host, served(people) as plc:
        members = [host.add(number) for number in range(1, MEMBERS + 1)]

        def commit() -> Commit:
            member = rng.choice(members)
            written = member.write(rng.randint(1, 3))
            said[member.did].append(written.rev)
            return written

        await host.say(*(commit() for _ in range(ROUND)))
        roles = [relay(tmp_path / name, plc, host) for name in ("one", "two")]
        try:
            await asyncio.gather(*(asyncio.to_thread(role.start) for role in roles))
            for role in roles:  # whoever is killed is found again where it was
                role.settings = {**role.settings, "port": "0", "relay_port": role.url.rpartition(":")[2]}
            names = [role.url.removeprefix("http://") for role in roles]
            # From their beginning: a relay without a cursor is read from what comes now.
            rows = (
                HostRow(0, name, role.url, 0, START, False, True, True, False, HostLimits())
                for name, role in zip(names, roles, strict=True)
            )
            _knows(tmp_path / "three", *rows)
            # Numbers differ between the two: what one says under 7 the other says under 9.
            async with World(tmp_path / "three", people) as world:
                await until(lambda: all(world.relay.host(name).status == "active" for name in names))  # type: ignore[union-attr]
                for number in range(ROUNDS):
                    late = roles[number % 2]
                    os.kill(late.pid, signal.SIGSTOP)
                    await host.say(*(commit() for _ in range(ROUND)))
                    await until(lambda: stands_at(world, members), f"seed {SEED}: {world.dropped}")
                    if number == 2:
                        await asyncio.to_thread(late.kill)
                        await asyncio.to_thread(late.start)
                    else:
                        os.kill(late.pid, signal.SIGCONT)
                        await host.say(*(commit() for _ in range(ROUND // 10)))
                await until(lambda: stands_at(world, members), f"seed {SEED}: {world.dropped}")
                for name in names:
                    await until(lambda name=name: (world.relay.host(name).seq or 0) >= host.seq)  # type: ignore[union-attr]
                dropped = world.dropped
            assert await asyncio.gather(*(asyncio.to_thread(role.stop) for role in roles)) == [0, 0]
        finally:
            for role in roles:
                role.kill()

    assert sum(dropped[reason] for reason in ("rev_stale", "stale_rev", "duplicate")) >= ROUND, "nothing came twice"
    assert set(dropped) <= {"rev_stale", "stale_rev", "duplicate", "host_closed", "host_unreachable"}, dropped
    for name in ("one", "two", "three"):
        await one_chain(tmp_path / name, said)


def _knows(directory: Path, *rows: HostRow) -> None:
    directory.mkdir(parents=True)
    store = HostsStore(directory / "relay.sqlite")
    for row in rows:
        store.put_host(row)
        store.put_cursor(row.hostname, row.cursor)
    store.flush()
    store.close()


async def one_chain(directory: Path, said: dict[str, list[str]]) -> None:
    """Every commit of an account once, each on top of the one before, in the log and in what it serves."""
    log = await SqliteLog.open(directory / "log.sqlite")
    try:
        revs: dict[str, list[str]] = defaultdict(list)
        data: dict[str, Cid] = {}
        after = 0
        while page := await log.read_commits(0, after, 1_000):
            after = page[-1][0]
            for _, entry in page:
                if not isinstance(entry, Commit):
                    continue
                assert entry.prev_data == data.get(entry.did), f"seed {SEED}: {entry.did} forks at {entry.rev}"
                revs[entry.did].append(entry.rev)
                data[entry.did] = entry.data
        assert revs == said, f"seed {SEED}"
        served: dict[str, list[str]] = defaultdict(list)
        seq = 0
        while events := await log.read_firehose(seq, 1_000):
            seq = events[-1].seq
            for event in events:
                message = decode_frame(event.frame())
                if isinstance(message, CommitMessage):
                    served[message.did].append(message.rev)
        assert served == said, f"seed {SEED}"
    finally:
        await log.close()
