"""What a batch of a lane will ask the store for, asked at once: each table's question waits for no other's.

What must not be older than what, else a predecessor's half of a batch is seen in one and not in the other:

1. Before-images are not newer than what is read beside them, unless they show that nobody is ahead of this lane. One
   that says nothing at the end of the reading said nothing at its beginning: what was read beside it may then have been
   read after it. One that shows somebody has everything else read anew, after it.
2. Counts are not older than the first rows that decide them (`processors.lanes.known`), nor is the row behind a first
   that may go: these come last.
3. Of `edges` rows are not older than the statics beside them (`applied` says what was folded in, rows must show it),
   but where a follower's timeline is filled: there `trimmed_below` must know of every row that is missing.

Does not own what is known without asking.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from processors.folding import Folder
from processors.lanes.before import read_before
from processors.lanes.known import COUNTED_FIRSTS, Known
from processors.lanes.together import together
from processors.wanted import Wanted
from views import followers, recent_by_author, timelines
from views.overlay import Overlay
from views.records import TABLE as RECORDS
from views.table import Key
from views.view import Edge, Fan

_RECENT, _FOLLOWERS, _TIMELINES = recent_by_author.TABLE, followers.TABLE, timelines.TABLE

_Asking = Coroutine[Any, Any, None]

_NEXT = 4
"""Rows of a subject that are read where the first of them goes: the one behind it counts then."""
EDGES_AT_ONCE = 100
"""Edges that are read ahead for together: each may bring the newest hundred posts of an author."""


async def read_together(wanted: Wanted, seen: int | None, known: Known, overlay: Overlay) -> None:
    """For a batch of `records`; `seen` as of `read_before`."""
    await together(read_before(wanted.asked, seen, known, overlay), *_beside(wanted, overlay))
    if known.doubtful:
        overlay.forget_but(RECORDS)
    if wanted.add_before(overlay) or known.doubtful:
        await together(*_beside(wanted, overlay))
    await together(
        *(overlay.load_statics(table, keys) for table, keys in wanted.counted.items() if table in COUNTED_FIRSTS),
        *(overlay.load_slice(table, prefix, _NEXT) for table, prefix in wanted.leaving),
    )


def _beside(wanted: Wanted, overlay: Overlay) -> list[_Asking]:
    return [
        *(overlay.load_firsts(table, keys) for table, keys in wanted.firsts.items()),
        *(overlay.load_statics(table, keys) for table, keys in wanted.counted.items() if table not in COUNTED_FIRSTS),
        wanted.load_merged(overlay),
    ]


async def read_ahead_of_edges(edges: Sequence[Edge], folder: Folder, overlay: Overlay) -> None:
    """For a few of a batch of `edges`: statics, then the rows that folding them will ask for."""
    await together(*(overlay.load_statics(table, keys) for table, keys in folder.counted(edges).items()))
    drops: list[Key] = []
    filled: dict[Key, int] = {}
    posted: dict[str, None] = {}
    for edge in edges:
        if edge.view == _RECENT.name:
            drops += edge.drops
            posted[edge.subject] = None
        elif edge.view == _FOLLOWERS.name and edge.puts:
            filled[edge.subject,] = filled.get((edge.subject,), 0) + 1
    # What these edges themselves write there is asked for on top.
    most = folder.settings.backfill + 1 + len(drops) + len(posted)
    await together(
        overlay.load(_RECENT, drops),
        *(overlay.load_slice(_RECENT, author, most) for author in filled),
        *(folder.load_followers(author) for author in posted),
    )
    await overlay.load_statics(_RECENT, filled)


async def read_ahead_of_fans(fans: Sequence[Fan], overlay: Overlay) -> None:
    """For a batch of `fanout`: up to where the timelines that are filled are complete."""
    raised = [(reader,) for fan in fans if fan.complete_since is not None for reader in fan.readers]
    await overlay.load_statics(_TIMELINES, raised)
