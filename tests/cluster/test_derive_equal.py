"""derive over Kafka makes of `commits` what the embedded log makes of it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import apsw
import msgspec
import pytest

from ingest.log import Rejected
from ingest.log_kafka_client import KafkaSettings
from ingest.log_kafka_topics import ensure_topics
from ingest.log_sqlite import SqliteLog
from schemas.entries import Entry
from tests.support.kafka_log import append, drop_topics, firehose_of, records_of, run_derive
from tests.support.log_model import Model, Network
from tests.support.log_world import record_of

pytestmark = pytest.mark.cluster

STEP = 4


async def embedded(path: Path, seed: int, bursts: int, shards: int) -> tuple[list[Entry], SqliteLog]:
    """A network's entries, refused ones among them, and the log of one process that took them."""
    log = await SqliteLog.open(path, shards=shards, step=STEP)
    network, model = Network(seed, 5), Model()
    network.follow(model)
    for _ in range(bursts):
        for entry in [network.entry() for _ in range(6)]:
            try:
                appended = await log.append(entry)
            except Rejected:
                continue
            model.apply(entry, appended.time)
        repo = network.repos[0]
        if network.random.random() < 0.3 and (held := model.accounts.get(repo.did)) and held.status != "deleted":
            network.follow(model)
            ops = [repo.op(f"app.bsky.feed.post/m{n}", record_of(f"{seed} {n}")) for n in range(11)]
            chunks = repo.diff_entries(ops, 3, (held.rev, held.data))
            with contextlib.suppress(Rejected):
                appended = (await log.append_many(chunks))[-1]
                model.apply(msgspec.structs.replace(chunks[0], ops=tuple(ops)), appended.time)
        network.follow(model)
    found = [e for shard in range(shards) for _, e in await log.read_commits(shard, 0, 100_000)]
    return found, log


@pytest.mark.parametrize(("seed", "shards"), [(1, 1), (2, 1), (3, 2), (4, 3)])
async def test_both_logs_derive_the_same(
    seed: int, shards: int, kafka_servers: str, cluster_name: str, tmp_path: Path
) -> None:
    settings = KafkaSettings(servers=kafka_servers, cluster=f"{cluster_name}-{seed}")
    await ensure_topics(settings, shards)
    entries, log = await embedded(tmp_path / "log.sqlite", seed, 30, shards)
    offsets = await append(settings, [(entry, None) for entry in entries], shards)
    await log.close()

    log = await SqliteLog.open(tmp_path / "log.sqlite", shards=shards)
    worker = await run_derive(settings, tmp_path / "derive", shards, step=STEP)

    assert offsets
    assert sum(worker.rejected.values()) > 0
    for shard in range(shards):
        here, there = await log.read_records(shard, 0, 5000), await records_of(settings, shard)
        assert [msgspec.structs.replace(e, offset=e.n) for e in there] == here
        assert [e.offset for e in there] == sorted({e.offset for e in there})
    here_events = {(e.did, e.kind, e.head, e.tail, e.time) for e in await log.read_firehose(0, 5000)}
    there_events = [(e.did, e.kind, e.head, e.tail, e.time) for e in await firehose_of(settings)]
    assert len(there_events) == len(here_events)
    assert set(there_events) == here_events
    await log.close()
    await state_is_what_records_say(settings, tmp_path, shards)
    await drop_topics(settings)


async def state_is_what_records_say(settings: KafkaSettings, folder: Path, shards: int) -> None:
    """A state made from nothing is the one that went along."""
    await run_derive(settings, folder / "anew", shards)
    for shard in range(shards):
        went_along, made_anew = (dump(folder / name / f"shard-{shard}.sqlite") for name in ("derive", "anew"))
        assert went_along == made_anew


def dump(path: Path) -> tuple[list[object], ...]:
    con = apsw.Connection(str(path))
    accounts = (
        "SELECT did, rev, data, head, head_at, account_at, status, handle, partial, taken_down, verified_at "
        "FROM accounts ORDER BY did"
    )
    paths = "SELECT did, path, n, first_time FROM paths JOIN accounts ON number=account ORDER BY did, path"
    try:
        return tuple(con.execute(sql).fetchall() for sql in (accounts, paths, "SELECT place FROM meta"))
    finally:
        con.close()
