"""Whether somebody follows an account, found by who: what a page asks for all that it shows in the reader's partitions.

Does not own the list of followers nor their number (`followers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from views import follows_by_actor
from views.bucket import bucket
from views.table import Key, Row, Table, integer, text
from views.view import FOLLOWED, View

BUCKETS = 4

TABLE = Table(
    "followed_by",
    "edges",
    partition=(text("did", "who is followed"), integer("bucket", "`bucket(actor)`")),
    clustering=(text("actor", "who follows"),),
    columns=(text("uri", "of the follow that counts"),),
)


@lru_cache(16_384)
def _bucket(actor: str) -> int:
    return bucket(actor, BUCKETS)


def key(did: str, actor: str) -> Key:
    """What `get_many` finds the follow of `did` by `actor` by."""
    return (did, _bucket(actor), actor)


def _rows(follow: Row) -> Sequence[Row]:
    return ((*key(follow[1], follow[0]), follows_by_actor.uri(follow)),)


VIEW = View(TABLE, rows={FOLLOWED: _rows})
