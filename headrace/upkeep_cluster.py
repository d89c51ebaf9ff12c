"""What a cluster's processes do by the clock: look how far the log has flowed, drop what no consumer needs any more.

Each goes on when the broker or the store is away: it is tried again. Does not own what may be dropped.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from headrace.river import River
from ingest.log import LogAwayError
from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.pds.registry import read_checkpoints
from ingest.log_kafka.reach import AWAY
from ingest.log_kafka.topics import delete_records
from ingest.log_kafka.truncate import truncate_commits
from processors.rebuild.kafka import ClusterGenerations
from schemas.errors import InvariantError
from schemas.topics import EDGES, FANOUT, hop
from views.store_scylla import ScyllaStore, StoreUnavailableError

LOOK_SECONDS = 5.0
HOPS_SECONDS = 300.0
COMMITS_SECONDS = 600.0
ADVANCE_SECONDS = 10.0
GIVEN_BACK_SECONDS = 300.0

_log = structlog.get_logger()


async def keep_looking(river: River) -> None:
    """Until cancelled: what metrics show is a few seconds old."""
    while True:
        try:
            await river.look()
        except (*AWAY, StoreUnavailableError) as error:
            _log.warning("the river cannot be seen", error=repr(error))
        await asyncio.sleep(LOOK_SECONDS)


async def keep_advancing(generations: ClusterGenerations, name: str) -> InvariantError:
    """Until cancelled: a generation that has seen all of the log is ready. Returns when it has been dropped."""
    while True:
        try:
            if await generations.advance(name) is None:
                return InvariantError(f"expected the generation {name}, found that it was dropped: end its workers")
        except (*AWAY, StoreUnavailableError) as error:
            _log.warning("the generation could not be looked after", error=repr(error))
        await asyncio.sleep(ADVANCE_SECONDS)


async def keep_given_back(generations: ClusterGenerations) -> None:
    """Until cancelled: compaction that a command held and died is let work again, at once and in a while."""
    while True:
        try:
            if await generations.give_back():
                _log.warning("compaction was held with nothing being built: a build had died; it is given back")
        except (*AWAY, StoreUnavailableError) as error:
            _log.warning("whether compaction is held cannot be told", error=repr(error))
        await asyncio.sleep(GIVEN_BACK_SECONDS)


async def keep_hops_short(kafka: KafkaSettings, generation: str, store: ScyllaStore) -> None:
    """Until cancelled: hops are kept from where their readers have saved that they are, the last entry included."""
    while True:
        await asyncio.sleep(HOPS_SECONDS)
        try:
            progress = await store.progress()
            saved = {
                (hop(topic, generation), shard): offset
                for (topic, shard), offset in progress.vector.items()
                if topic in (EDGES, FANOUT)
            }
            await delete_records(kafka, saved)
        except (*AWAY, StoreUnavailableError) as error:
            _log.warning("hops were not truncated", error=repr(error))


async def keep_commits_short(kafka: KafkaSettings, shards: int) -> None:
    """Until cancelled: `commits` is kept for 72 h, and from where derive and every PDS have come to."""
    while True:
        await asyncio.sleep(COMMITS_SECONDS)
        try:
            checkpoints = await read_checkpoints(kafka, shards)
            await truncate_commits(kafka, shards, checkpoints, time.time_ns() // 1_000_000)
        except (*AWAY, LogAwayError) as error:
            _log.warning("commits were not truncated", error=repr(error))
