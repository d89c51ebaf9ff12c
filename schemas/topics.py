"""Names of the log's topics, and the shard an account lives in. Fixed when a cluster is created."""

from __future__ import annotations

from xxhash import xxh64_intdigest

COMMITS = "commits"
RECORDS = "records"
FIREHOSE = "firehose"
OPERATIONS = "operations"
LABELS = "labels"
REJECTIONS = "rejections"
PDS = "pds"

# Hops belong to a generation: their names are prefixes, completed with `.<generation>`.
EDGES = "edges"
FANOUT = "fanout"


def shard_of(did: str, shards: int) -> int:
    """The shard of an account among `shards`: xxh64 of the DID's UTF-8, seed 0."""
    return 0 if shards == 1 else xxh64_intdigest(did.encode()) % shards


def hop(topic: str, generation: str) -> str:
    """The name of a generation's own copy of a hop."""
    return f"{topic}.{generation}"
