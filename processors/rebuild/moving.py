"""Two copies of the views compared while both follow the log, where neither can be held.

They are scanned as they move; a row that differed is read again until it stands still in both between two looks, with
all that the log held seen by both in between: then it differs for good. Does not own what `passed` waits for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec

from processors.digest import Lines, Scanned, comparable
from processors.rebuild.diff import NAMED_MOST, Difference, ViewDiff, compare
from views.store import Store
from views.table import Key, Row, Table
from views.view import View

_LOOKS: Final = 6


class Copy(Scanned, Store, Protocol):
    """What both are asked."""


async def compare_moving(
    left: Copy, right: Copy, views: Sequence[View], passed: Callable[[], Awaitable[None]]
) -> list[ViewDiff]:
    """`passed` returns once both have seen what the log holds as it is called."""
    found = []
    for view in comparable(views):
        for _ in range(_LOOKS):
            (diff,) = await compare(left, right, [view])
            standing = await _standing(left, right, view.table, diff.rows, passed)
            if standing or len(diff.rows) < NAMED_MOST:
                break
        else:
            found.append(diff)  # more differs than can be named, and it does not stand still
            continue
        equal = diff.left if not standing else diff.right
        found.append(msgspec.structs.replace(diff, right=equal, rows=tuple(standing)))
    return found


async def _standing(
    left: Copy, right: Copy, table: Table, rows: Sequence[Difference], passed: Callable[[], Awaitable[None]]
) -> list[Difference]:
    """Those that still differ, and were the same in both at two looks."""
    moving = {(row.key, row.statics): (row.left, row.right) for row in rows}
    standing: list[Difference] = []
    for _ in range(_LOOKS):
        if not moving:
            break
        await passed()
        for (key, statics), had in list(moving.items()):
            now = (await _read(left, table, key, statics=statics), await _read(right, table, key, statics=statics))
            if now[0] == now[1]:
                del moving[key, statics]
            elif now == had:
                del moving[key, statics]
                standing.append(Difference(table.name, key, statics, *now))
            else:
                moving[key, statics] = now
    return standing


async def _read(store: Copy, table: Table, key: Key, *, statics: bool) -> Row | None:
    lines = Lines(table)
    if statics:
        (values,) = await store.statics(table, (key,))
        line = None if values is None else lines.of_statics((*key, *values))
    else:
        (row,) = await store.get_many(table, (key,))
        line = None if row is None else lines.of_row(row)
    return None if line is None else line.row
