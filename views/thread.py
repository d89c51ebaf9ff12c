"""The replies below a root, whole; a reader bounds what it takes."""

from __future__ import annotations

from views.table import Table, newest_first, text

TABLE = Table(
    "thread",
    "edges",
    partition=(text("root", "URI, as the replies say"),),
    clustering=(text("uri", "of a reply"),),
    columns=(text("parent", "URI of what it answers"), newest_first()),
)
