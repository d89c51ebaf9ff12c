"""Two generations of one process, held at the same place of the log for as long as snapshots of both take.

Does not own what a difference is (`processors.rebuild.diff`) nor which generations there are.
"""

from __future__ import annotations

from collections.abc import Sequence

from processors.rebuild.builds import GAP_MOST, Diff
from processors.rebuild.copy import Copy
from processors.rebuild.diff import compare
from processors.run_embedded import RunnerStoppedError
from views.generations import GenerationError
from views.store_sqlite_snapshot import SqliteSnapshot
from views.view import View


async def side_by_side(left: Copy, right: Copy, views: Sequence[View]) -> Diff:
    """Raises GenerationError when they are far apart or one has stopped."""
    if left is right:
        raise GenerationError(f"{left.name} equals itself: name two generations")
    copies = (left, right)
    runners = [copy.runner for copy in copies]
    apart = abs(runners[0].behind() - runners[1].behind())
    if apart > GAP_MOST:
        raise GenerationError(f"{left.name} and {right.name} are {apart} entries apart: wait until both are ready")
    snapshots: list[SqliteSnapshot] = []
    try:
        for runner in runners:
            await runner.hold()
        vectors = [runner.vector() for runner in runners]
        vector = {place: max(each[place] for each in vectors) for place in vectors[0]}
        for runner in runners:
            await runner.hold(vector)
        snapshots += [SqliteSnapshot(copy.path) for copy in copies]
    except RunnerStoppedError as error:
        raise GenerationError(f"{left.name} and {right.name} cannot be compared: {error}") from error
    finally:
        for runner in runners:
            runner.release()
    try:
        found = await compare(snapshots[0], snapshots[1], views)
    finally:
        for snapshot in snapshots:
            snapshot.close()
    return Diff(left.name, right.name, [(*place, offset) for place, offset in sorted(vector.items())], found)
