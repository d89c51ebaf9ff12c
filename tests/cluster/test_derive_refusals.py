"""What derive refuses, what it stops at, and what it tells operators."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from ingest.log_kafka.client import KafkaSettings, new_producer
from ingest.log_kafka.derive.worker import DeriveWorker
from ingest.log_kafka.topics import delete_records, ensure_topics
from ingest.log_kafka.truncate import COMMITS_KEPT_MS, derived_to, truncate_commits
from schemas.entries import Account, Commit
from schemas.entry_codec import encode
from schemas.errors import InvariantError
from schemas.rejections_codec import decode_rejection
from schemas.topics import COMMITS, RECORDS, REJECTIONS
from tests.support.kafka_log import PATIENCE, append, caught_up, drop_topics, read_all, records_of, run_derive
from tests.support.log_world import START, Repo, record_of

pytestmark = pytest.mark.cluster


@pytest.fixture
async def settings(kafka_servers: str, cluster_name: str, request) -> AsyncIterator[KafkaSettings]:
    made = KafkaSettings(
        servers=kafka_servers,
        cluster=f"{cluster_name}-{abs(hash(request.node.name))}",
        transaction_timeout_ms=5000,
    )
    await ensure_topics(made, 1)
    yield made
    await drop_topics(made)


def writes(number: int, repo: Repo | None = None) -> list[Commit]:
    repo = repo or Repo(1)
    made = [repo.write(f"app.bsky.feed.post/{repo.clock}{n}", record_of(str(n))) for n in range(number)]
    return [msgspec.structs.replace(entry, time=START + n) for n, entry in enumerate(made)]


async def test_a_refused_entry_of_a_pds_of_ours_is_told_to_it(settings: KafkaSettings, tmp_path: Path) -> None:
    """And one of another network's is only counted."""
    first, second = writes(2)
    foreign = writes(1, Repo(2))[0]
    await append(settings, [first, second], 1, pds="pds-a")
    offsets = await append(settings, [first], 1, pds="pds-b")
    await append(settings, [foreign, foreign], 1)

    worker = await run_derive(settings, tmp_path, 1)

    (message,) = await read_all(settings, REJECTIONS)
    said = decode_rejection(message.value)
    assert message.key == first.did.encode()
    assert (said.pds, said.reason, said.shard, said.offset) == ("pds-b", "stale_rev", 0, offsets[0])
    assert {str(reason): count for reason, count in worker.rejected.items()} == {"stale_rev": 1, "duplicate": 1}


async def test_an_entry_of_an_unknown_version_stops_the_shard(settings: KafkaSettings, tmp_path: Path) -> None:
    """What came before it is derived; what comes after it is not."""
    await append(settings, writes(1), 1)
    producer = new_producer(settings)
    await producer.start()
    await producer.send_and_wait(settings.topic(COMMITS), b"\x09\x01\x90", b"did:web:a", 0)
    await producer.stop()
    await append(settings, [Account(Repo(3).did, "active", START)], 1)
    worker = DeriveWorker(settings, tmp_path, 1, only=[0], batch=1)
    await worker.start()

    async with asyncio.timeout(PATIENCE):
        failure = await worker.stopped()
    await worker.stop()

    assert isinstance(failure, InvariantError)
    assert "newer headrace" in str(failure)
    assert {entry.did for entry in await records_of(settings, 0)} == {Repo(1).did}


async def test_lost_entries_stop_derive(settings: KafkaSettings, tmp_path: Path) -> None:
    await append(settings, writes(3), 1)
    await run_derive(settings, tmp_path, 1)
    offsets = await append(settings, [Account(Repo(1).did, "active", START), *writes(2, Repo(4))], 1)
    await delete_records(settings, {(COMMITS, 0): offsets[1]})

    with pytest.raises(InvariantError, match=r"holds 5 to 6, derive has come to 3: entries are lost"):
        await run_derive(settings, tmp_path, 1)


async def test_a_state_of_another_topic_is_forgotten(settings: KafkaSettings, tmp_path: Path) -> None:
    """A cluster made anew under the same name begins from nothing."""
    entries = writes(3)
    await append(settings, entries, 1)
    await run_derive(settings, tmp_path, 1)
    expected = await records_of(settings, 0)
    await drop_topics(settings)
    await ensure_topics(settings, 1)
    await append(settings, entries, 1)

    await run_derive(settings, tmp_path, 1)

    assert await records_of(settings, 0) == expected


async def test_an_open_transaction_is_seen_and_waited_out(settings: KafkaSettings, tmp_path: Path) -> None:
    """It hides what comes after it until the broker ends it; what it held is never derived."""
    worker = DeriveWorker(settings, tmp_path, 1, only=[0])
    await worker.start()
    dead = new_producer(settings, transactional_id=f"{settings.cluster}-dead")
    await dead.start()
    await dead.begin_transaction()
    lost = writes(1, Repo(6))[0]
    await (await dead.send(settings.topic(COMMITS), encode(lost), lost.did.encode(), 0))
    await append(settings, writes(1), 1)
    await until(lambda: worker.open_transaction_seconds > 0.5)
    assert await records_of(settings, 0) == []
    await until(lambda: worker.entries == 1)
    await until(lambda: not worker.open_transaction_seconds)

    assert {entry.did for entry in await records_of(settings, 0)} == {Repo(1).did}
    await caught_up(settings, worker, 1)
    await worker.stop()
    await dead.stop()


async def test_commits_are_dropped_behind_the_slowest_consumer(settings: KafkaSettings, tmp_path: Path) -> None:
    """And nothing that is younger than 72 h."""
    offsets = await append(settings, writes(8), 1)
    await run_derive(settings, tmp_path, 1)
    done = await derived_to(settings, 1)
    young, old = _now_ms(), _now_ms() + COMMITS_KEPT_MS + 60_000

    assert await truncate_commits(settings, 1, {}, young) == {0: 1}
    assert await truncate_commits(settings, 1, {"pds-a": {}}, old) == {0: 1}
    assert await truncate_commits(settings, 1, {"pds-a": {0: 5}, "pds-b": {0: 7}}, old) == {0: 6}
    assert [message.offset + 1 for message in await read_all(settings, COMMITS)] == offsets[5:]
    assert await truncate_commits(settings, 1, {"pds-a": {0: 4}}, old) == {0: 6}
    assert await truncate_commits(settings, 1, {}, old) == {0: done[0] + 1}
    assert await read_all(settings, COMMITS) == []
    await append(settings, [Account(Repo(1).did, "active", START)], 1)
    await run_derive(settings, tmp_path, 1)
    assert (await read_all(settings, RECORDS))[-2].key == Repo(1).did.encode() + b"#account"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if holds():
                return
            await asyncio.sleep(0.02)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
