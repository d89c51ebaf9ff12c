"""What an account has set in this AppView, as it stands: what viewer states say, and the before-image of every change.

Private to the owner. Kinds that this version does not know are rows too. Does not own what a kind means
(`schemas.operations`) nor in which order lists of them are read (`views.mutes_by_time`, `views.bookmarks_by_time`).
"""

from __future__ import annotations

from views.table import Table, blob, integer, text
from views.view import View

TABLE = Table(
    "operations",
    "operations",
    # All of one owner is one partition: what a page asks of its viewer is one read.
    partition=(text("did", "whose it is"),),
    clustering=(text("kind", "mute, bookmark or threadmute"), text("subject", "of a mute a DID, of others an AT-URI")),
    columns=(
        blob("value", "of a mute one byte: 0 all, or bits 1 (reposts) and 2 (quotes); of a bookmark the CID, as text"),
        integer("time", "log time of the entry that set it, microseconds"),
        integer("offset", "of that entry in `operations`"),
    ),
)

# Written by the step itself: every entry makes a row, whatever it means.
VIEW = View(TABLE)
