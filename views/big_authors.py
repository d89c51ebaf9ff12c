"""Authors with pull rows: a reader merges those rows of the ones it follows. 16 partitions hold them all."""

from __future__ import annotations

from views.table import Table, integer, text
from views.view import View

PARTITIONS = 16

TABLE = Table(
    "big_authors",
    "edges",
    partition=(integer("bucket", "0 to 15: `bucket(did)`"),),
    clustering=(text("did", "an author with at least one pull row"),),
)

VIEW = View(TABLE)
