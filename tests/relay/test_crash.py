"""A relay that is killed under load, at random and at the worst moments: no gap, nothing twice, the cursor behind it.

Twenty kills in the long form (HEADRACE_CHAOS=long), five in CI. The process is `headrace relay` itself.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from pathlib import Path

import pytest

from ingest.log_sqlite.log import SqliteLog
from ingest.log_sqlite.schema import open_reader, rows_of
from ingest.relay.directory import HostLimits
from ingest.relay.hosts_store import HostRow, HostsStore
from schemas.crash import ENVIRONMENT
from schemas.entries import Commit
from tests.relay.world.host import START, Host, Member
from tests.relay.world.people import People, served
from tests.relay.world.relay import until
from tests.support.roles import Role

SEED = int(os.environ.get("HEADRACE_CHAOS_SEED", "7"))
KILLS = 20 if os.environ.get("HEADRACE_CHAOS") else 5
MEMBERS = 10
ROUND = 500  # commits between two kills
CAUGHT_UP = 10.0 * KILLS + 60  # seconds for what the kills held up, on a machine with other work
PAUSE = 0.02  # seconds between two lots of a load of 1,000 events a second
WORST = ("log.before_commit:9", "log.after_commit:9", "relay.before_cursors:2", "relay.after_cursors:2")

pytestmark = pytest.mark.chaos


def prepare(directory: Path, host: Host) -> None:
    """A trusted host: it may send as much as this test does."""
    directory.mkdir(parents=True)
    store = HostsStore(directory / "relay.sqlite")
    store.put_host(HostRow(0, host.name, host.url, None, START, False, False, True, False, HostLimits()))
    store.close()


def started(directory: Path, plc: str, crash: str = "") -> Role:
    settings = {"plc_url": plc, "allow_private_addresses": "true", "relay_port": "0", "log_level": "warning"}
    return Role("relay", directory, settings, {ENVIRONMENT: crash} if crash else {})


async def talk(host: Host, commits: list[Commit]) -> None:
    """A thousand a second."""
    for at in range(0, len(commits), 20):
        await host.say(*commits[at : at + 20])
        await asyncio.sleep(PAUSE)


def heads(directory: Path) -> dict[str, str]:
    con = open_reader(directory / "log.sqlite")
    try:
        return dict(rows_of(con, "SELECT did, rev FROM heads"))
    finally:
        con.close()


async def check(directory: Path, said: dict[str, list[str]]) -> None:
    """Every commit that was said is in the log once, in order; and in the firehose."""
    log = await SqliteLog.open(directory / "log.sqlite")
    try:
        found: dict[str, list[str]] = defaultdict(list)
        after = 0
        while page := await log.read_commits(0, after, 1_000):
            after = page[-1][0]
            for _, entry in page:
                if isinstance(entry, Commit):
                    found[entry.did].append(entry.rev)
        assert found == said, f"seed {SEED}"
        served_revs: dict[str, int] = defaultdict(int)
        seq = 0
        while events := await log.read_firehose(seq, 1_000):
            assert [event.seq for event in events] == list(range(seq + 1, seq + 1 + len(events)))
            seq = events[-1].seq
            for event in events:
                served_revs[event.did] += event.kind == "commit"
        assert served_revs == {did: len(revs) for did, revs in said.items()}
    finally:
        await log.close()


async def test_a_relay_killed_under_load_has_neither_gap_nor_repetition(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    print(f"{KILLS} kills with HEADRACE_CHAOS_SEED={SEED}")
    people = People()
    directory = tmp_path / "relay"
    said: dict[str, list[str]] = defaultdict(list)
    async with Host(people) as host, served(people) as plc:
        members = [host.add(number) for number in range(1, MEMBERS + 1)]
        prepare(directory, host)

        def spoken(count: int) -> list[Commit]:
            return [_write(rng.choice(members), said) for _ in range(count)]

        role = await asyncio.to_thread(started(directory, plc).start)
        try:
            for _ in range(KILLS):
                talking = asyncio.create_task(talk(host, spoken(ROUND)))
                goal = host.sent + rng.randrange(1, ROUND)
                await until(lambda goal=goal: host.sent >= goal)
                await asyncio.to_thread(role.kill)
                await talking
                role = await asyncio.to_thread(started(directory, plc).start)
            await until(lambda: heads(directory) == {member.did: member.rev for member in members}, seconds=CAUGHT_UP)
            await until(lambda: cursor(directory) == host.seq)
            assert await asyncio.to_thread(role.stop) == 0
        finally:
            role.kill()
    assert len(host.cursors) >= KILLS + 1
    await check(directory, said)


@pytest.mark.parametrize("crash", WORST if KILLS > 5 else WORST[1:3])
async def test_a_relay_that_dies_at_the_worst_moment_goes_on(tmp_path: Path, crash: str) -> None:
    people = People()
    directory = tmp_path / "relay"
    said: dict[str, list[str]] = defaultdict(list)
    async with Host(people) as host, served(people) as plc:
        members = [host.add(number) for number in range(1, MEMBERS + 1)]
        prepare(directory, host)
        role = await asyncio.to_thread(started(directory, plc, crash).begin)
        try:
            await until(lambda: host.cursors or role.process.poll() is not None)  # type: ignore[union-attr]
            while role.process.poll() is None:  # type: ignore[union-attr]
                await talk(host, [_write(member, said) for member in members for _ in range(4)])
                assert host.seq < 40_000, "the fault did not fire"
            assert await asyncio.to_thread(role.wait) == -9
            assert f"crash: {crash.partition(':')[0]}" in role.tail()
            role = await asyncio.to_thread(started(directory, plc).start)
            await until(lambda: heads(directory) == {member.did: member.rev for member in members})
            assert await asyncio.to_thread(role.stop) == 0
            assert cursor(directory) == host.seq
        finally:
            role.kill()
    await check(directory, said)


def cursor(directory: Path) -> int | None:
    con = open_reader(directory / "relay.sqlite")
    try:
        return rows_of(con, "SELECT cursor FROM hosts")[0][0]
    finally:
        con.close()


def _write(member: Member, said: dict[str, list[str]]) -> Commit:
    commit = member.write()
    said[member.did].append(commit.rev)
    return commit
