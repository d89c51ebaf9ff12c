"""Who follows an account, newest first: one row a follower, in buckets, with the count in bucket 0.

`page` reads across the buckets.
"""

from __future__ import annotations

from views.table import APPLIED, Table, integer, newest_first, text

BUCKETS = 4

TABLE = Table(
    "followers",
    "edges",
    partition=(text("did", "who is followed"), integer("bucket", "`bucket(actor)`; statics are in 0")),
    clustering=(newest_first(), text("actor", "who follows")),
    columns=(text("uri", "of the follow that counts"),),
    statics=(integer("followers_count", "distinct followers, in bucket 0"), APPLIED),
)
