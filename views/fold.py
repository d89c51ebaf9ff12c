"""How an edge is folded into its table: rows and counts in one step, each edge once."""

from __future__ import annotations

from views.overlay import UNREAD, Overlay
from views.table import Table
from views.view import Edge


async def fold_rows(table: Table, edge: Edge, offset: int, overlay: Overlay) -> bool:
    """Write the edge's rows and its own deltas; False when the counts say that it has been folded in before.

    `offset` is the edge's in its hop. The delta is the message's, never whether a member row was found.
    """
    if edge.deltas:
        partition = edge.counted
        statics = overlay.known_statics(table, partition)
        if statics is UNREAD:
            statics = await overlay.statics(table, partition)
        if statics is None:
            values = [0] * len(table.statics)
        elif statics[-1] >= offset:
            return False
        else:
            values = list(statics)
        for place, delta in edge.deltas:
            values[place] += delta
        values[-1] = offset
        overlay.put_statics(table, partition, tuple(values))
    for key in edge.drops:
        overlay.delete(table, key)
    for row in edge.puts:
        overlay.put(table, row)
    return True
