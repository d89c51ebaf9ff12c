"""What an account has bookmarked, newest first: what getBookmarks lists."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.operations import BOOKMARK, Operation
from views.table import Row, Table, newest_first, text
from views.view import View

TABLE = Table(
    "bookmarks_by_time",
    "operations",
    partition=(text("actor", "whose bookmark"),),
    clustering=(newest_first("log time of the bookmark, unix microseconds"), text("subject", "URI of the post")),
    columns=(text("cid", "that the post had"),),
)


def _rows(bookmark: Operation) -> Sequence[Row]:
    return ((bookmark.did, bookmark.time, bookmark.subject, (bookmark.value or b"").decode("ascii", "replace")),)


VIEW = View(TABLE, rows={BOOKMARK: _rows})
