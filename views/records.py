"""Every live record as it stands: what getRecord reads, and the before-image of every change.

Unknown and invalid records are rows too. Does not own what a record means to other views.
"""

from __future__ import annotations

from views.table import Table, blob, integer, text
from views.view import View

TABLE = Table(
    "records",
    "records",
    partition=(text("did", "whose repo"), text("collection", "NSID")),
    clustering=(text("rkey", "record key"),),
    columns=(
        text("cid", "of `bytes`, base32"),
        blob("bytes", "DAG-CBOR"),
        text("rev", "of the commit that set it"),
        integer("first_time", "log time of the entry that created the key since its last delete, microseconds"),
        integer("offset", "of that entry in `records`"),
        text("invalid", "why it projects to no other rows; empty when it may"),
    ),
)

# Written by the step itself: every entry makes a row, whatever it means.
VIEW = View(TABLE)
