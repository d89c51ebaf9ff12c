"""Views over a backfilled log: everything the API shows of two hosts' people is what the model says of the log, and the
log holds what the hosts hold.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from ingest.identity.did_doc import DidDocument
from processors.run_embedded import EmbeddedRunner
from schemas.entries import Commit, Diff
from schemas.syntax import Did, Handle
from tests.oracle.compare import Comparison, Watch
from tests.oracle.model import Model
from tests.relay.test_backfill import QUICK, begin, chain_of, has_all_of, over, world_of
from tests.relay.world.host import START, Host, Member
from tests.relay.world.people import People
from tests.support.asking import InProcess
from tests.support.fast_network import TIGHT, dids, encoded
from tests.support.random_network import Habits, RandomNetwork, Write
from views import ALL
from views.store_sqlite import SqliteStore

STEPS = 400
PEOPLE = dids(6)


def live_at(host: Host, did: str, number: int) -> Member:
    """An account of the random network's at a host."""
    member = Member(number)
    member.did = Did(did)
    host.members[did] = member
    host.people.put(did, member.key, host.url)
    return member


@pytest.mark.parametrize("seed", [3, 8])
async def test_what_is_fetched_and_what_is_said_meanwhile_makes_the_views_that_the_log_means(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    clock = START

    def now() -> int:
        nonlocal clock
        clock += 1_000_000
        return clock

    people = People()
    async with Host(people) as one, Host(people) as two, world_of(tmp_path, people, introduce=True) as world:

        async def handle_of(did: Did, _document: DidDocument, _fresh: bool) -> Handle | None:  # noqa: FBT001
            return Handle(f"name{PEOPLE.index(did)}.test")

        world.relay.intake.judge.handle_of = handle_of
        members = {did: live_at((one, two)[n % 2], did, n + 1) for n, did in enumerate(PEOPLE)}

        def written() -> list[tuple[Host, Commit]]:
            """A step of the network, as its host says it."""
            step = next(steps)
            if not isinstance(step, Write):
                return []
            member = members[step.did]
            changes = [(path, None if value is None else encoded(value)) for path, value in step.changes]
            if all(member.records.get(path) == record for path, record in changes):
                return []
            member.clock = max(member.clock, clock)
            return [(one if step.did in one.members else two, member.commit(*changes))]

        steps = RandomNetwork(dice, PEOPLE, now, Habits(spoilt=3, gate=6, follow=20)).steps(STEPS)
        for member in members.values():
            member.commit()
        for _ in range(STEPS // 2):
            written()  # nobody listened yet
        store = SqliteStore(tmp_path / "views.sqlite", [view.table for view in ALL])
        runner = EmbeddedRunner(world.log, store, ALL, TIGHT)
        await runner.start()
        views = [await begin(world, host) for host in (one, two)]
        for n in range(STEPS // 2):
            for host, commit in written():
                await host.say(commit)
            if n % 8 == 0:
                await asyncio.sleep(0)
        for view in views:
            assert (await over(world, view.id)).whole
        for host in (one, two):
            await world.taken(host)
        await runner.process_all()

        model = Model()
        entries = await world.entries()
        for entry in entries:
            model.take(entry)
        watch = Watch()
        comparison = Comparison(model, InProcess(store), PEOPLE, dice, watch=watch, context=f"seed {seed}")
        await comparison.everything([None, *PEOPLE])
        await runner.stop()
        await store.close()

        assert all(has_all_of(world, member) for member in members.values())
        assert {type(entry) for entry in entries} >= {Diff, Commit}
        assert max((one.fetched | two.fetched).values()) <= 1 + QUICK.at_once
        for did in PEOPLE:
            await chain_of(world, did)
        for endpoint in ("getAuthorFeed", "getPostThread", "getTimeline", "getFollows"):
            assert watch.counts[f"{endpoint} with something"] > 5, watch.counts
