"""Re-reads the range of a diff when its last chunk is in (EXACTNESS 17)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apsw

from ingest.log_sqlite.schema import OFFSET_MASK, SHARD_BITS
from ingest.verdict import Reject, complete
from schemas.entries import Diff
from schemas.entry_codec import DIFF_MARKS, decode
from schemas.errors import InvariantError

Row = tuple[Any, ...]
"""(id, time, body) of `commits`."""

_RANGE = "SELECT id, time, body FROM commits WHERE id>=? AND id<=? AND substr(body, 1, 2) IN (?, ?) ORDER BY id"


def find_chunks(con: apsw.Connection, unwritten: Sequence[Row], last: Diff, source: int) -> tuple[int, ...] | Reject:
    """The ids of the diff's chunks in order, or why it is not whole. `unwritten` are rows of the batch under way."""
    first = source if last.first is None else source >> SHARD_BITS << SHARD_BITS | last.first
    headers = []
    for at, _, body in _range(con, unwritten, first, source):
        chunk = decode(body)
        if isinstance(chunk, Diff) and chunk.did == last.did:
            headers.append((at, at & OFFSET_MASK, chunk))
    return complete(last, headers)


def load_chunk(con: apsw.Connection, unwritten: Sequence[Row], at: int) -> Diff:
    """The chunk at an id that `find_chunks` gave."""
    for _, _, body in _range(con, unwritten, at, at):
        chunk = decode(body)
        assert isinstance(chunk, Diff)
        return chunk
    raise InvariantError(
        f"commits has no diff at {at & OFFSET_MASK} of shard {at >> SHARD_BITS}: it was truncated early"
    )


def _range(con: apsw.Connection, unwritten: Sequence[Row], low: int, high: int) -> Iterator[Row]:
    yield from con.execute(_RANGE, (low, high, *DIFF_MARKS))
    for row in unwritten:
        if low <= row[0] <= high and row[2][:2] in DIFF_MARKS:
            yield row
