"""Which of a table's buckets a value falls into; part of the key, so never to be changed."""

from __future__ import annotations

from xxhash import xxh64_intdigest


def bucket(value: str, buckets: int) -> int:
    """`value`'s bucket among `buckets`: xxh64 of its UTF-8, seed 0."""
    return xxh64_intdigest(value.encode()) % buckets
