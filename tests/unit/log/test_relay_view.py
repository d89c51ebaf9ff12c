"""A relay's view of `records`: it says what a log derives, also when pages come again; when it begins anew."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ingest.log import Rejected
from ingest.log_kafka.derive.batch import Batch, Source
from ingest.log_kafka.derive.state import ShardFile
from ingest.log_kafka.relay.view import STALE_SECONDS, RelayView
from ingest.log_sqlite.log import SqliteLog
from schemas.cid import Cid
from schemas.entries import Diff
from schemas.errors import InvariantError
from schemas.records_codec import DerivePlace, read
from tests.support.log_model import Model, Network

SEED = 11
TOPIC = "one"


class NoChunks:
    """The network's diffs are of one piece."""

    async def find(self, first: int, last: int, did: str) -> list[tuple[int, Diff]]:
        raise AssertionError(first, last, did)

    async def load(self, offset: int) -> Diff:
        raise AssertionError(offset)


async def derived(tmp_path: Path) -> tuple[SqliteLog, list]:
    """A random network's log, and the messages that derive makes of the same entries."""
    log = await SqliteLog.open(tmp_path / "log.sqlite", shards=1)
    network, model = Network(SEED, 6), Model()
    for _ in range(40):
        network.follow(model)
        for entry in [network.entry() for _ in range(5)]:
            try:
                model.apply(entry, (await log.append(entry)).time)
            except Rejected:
                continue
    state = ShardFile(tmp_path / "shard.sqlite", TOPIC)
    messages, place, at = [], DerivePlace(), 0
    for offset, entry in await log.read_commits(0, 0, 10_000):
        batch = Batch(0, state, place, NoChunks())
        assert await batch.add(Source(offset, entry))
        made = batch.messages()
        messages += [read(key, value, headers, at + number) for number, (key, value, headers) in enumerate(made, 1)]
        at += len(made)
        place = batch.place
        state.take(batch.changed, place, at)
    state.close()
    return log, messages


def opened(path: Path, **more: object) -> RelayView:
    return RelayView(path, **{"cluster": "c", "topic": TOPIC, "shards": 1, **more})  # type: ignore[arg-type]


async def test_it_says_what_the_log_derived_though_pages_come_again(tmp_path: Path) -> None:
    log, messages = await derived(tmp_path)
    rng = random.Random(SEED)
    view, at = opened(tmp_path / "view.sqlite"), 0
    while at < len(messages):
        begin = max(0, at - rng.randrange(0, 20))  # as after a power cut that kept the former page
        at = min(len(messages), at + rng.randrange(1, 60))
        view.take(0, messages[begin:at], at)
        if rng.random() < 0.2:
            view.close()
            view = opened(tmp_path / "view.sqlite")
            assert view.at == [at]
    dids = {message.did for message, _ in messages if hasattr(message, "did")}
    records = 0
    for did in dids:
        expected, found = log.head(did), view.head(did)
        assert found is not None
        assert expected is not None
        for field in ("rev", "data", "commit", "status", "handle", "partial", "taken_down"):
            assert getattr(found, field) == getattr(expected, field), (did, field, SEED)
        assert view.cids(did) == log.cids(did)
        records += len(view.cids(did))
        for path, cid in view.cids(did):
            assert Cid(cid) == log.record(did, path)[0]  # type: ignore[index]
    done = view.done[0]
    view.close()
    await log.close()

    assert len(dids) == 6
    assert records
    assert done == messages[-1][0].done


async def test_what_belongs_to_another_log_or_is_too_old_begins_from_nothing(tmp_path: Path) -> None:
    log, messages = await derived(tmp_path)
    await log.close()
    path = tmp_path / "view.sqlite"

    def filled() -> RelayView:
        view = opened(path, now=1_000.0)
        view.take(0, messages, len(messages))
        name = view.relay
        view.close()
        again = opened(path, now=1_000.0 + STALE_SECONDS)
        assert (again.at, again.relay) == ([len(messages)], name)
        again.close()
        return again

    filled()
    old = opened(path, now=1_001.0 + STALE_SECONDS)
    assert (old.at, old.done) == ([0], [0])
    old.close()
    filled()
    replaced = opened(path, topic="two", now=1_000.0)
    assert (replaced.at, replaced.done) == ([0], [0])
    assert replaced.head(messages[0][0].did) is None
    replaced.close()
    with pytest.raises(InvariantError, match="3 shards, found 'c' with 1"):
        opened(path, shards=3)
    with pytest.raises(InvariantError, match="'other'"):
        opened(path, cluster="other")
