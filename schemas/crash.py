"""Named places where a process may be told to die, so that a test can prove what survives.

`HEADRACE_CRASH=name:nth` kills the process with SIGKILL at the nth pass of that point. Before it dies it writes
`crash: <name>` to stderr, so that a test can assert that the fault fired. Without the variable a point costs one
comparison. Owns no policy: what must hold afterwards is said in the tests.
"""

from __future__ import annotations

import os
import signal

from schemas.errors import InvariantError

ENVIRONMENT = "HEADRACE_CRASH"

# One line a stage; a name says what is done and what is not.
POINTS: frozenset[str] = frozenset(
    {
        "log.before_insert",
        "log.before_commit",
        "log.after_commit",
        "derive.mid_expansion",
        "derive.before_send",
        "derive.before_commit_txn",
        "derive.after_commit_txn",
        "derive.mid_expansion_txn",
        "views.after_index",
        "views.after_edges",
        "views.before_commit",
        "views.mid_commit",
        "views.after_commit",
        "lane.before_send",
        "lane.after_send",
        "lane.after_rows",
        "lane.after_deciding",
        "lane.after_before_images",
        "lane.after_progress",
        "lane.after_watermark",
        "generation.after_hold",
        "generation.after_add",
        "generation.before_flip",
        "generation.after_flip",
        "generation.mid_drop",
        "operations.before_send",
        "operations.after_send",
        "pds.after_append_before_ack",
        "pds.before_flush",
        "pds.mid_flush",
        "account.pending",
        "account.after_plc",
        "account.after_append",
        "account.mid_delete",
        "relay.before_cursors",
        "relay.after_cursors",
        "mirror.before_commit",
        "mirror.after_commit",
        "blob.before_rename",
        "blob.after_rename",
        "blob.mid_collect",
        "backup.before_rename",
        "restore.mid_move",
        "pds.mid_announce",
    }
)

_armed: list[str | int] = []


def arm(setting: str | None) -> None:
    """Take `name:nth` (or None for no crash); an unknown name is refused, so that no test passes by a misspelling."""
    _armed.clear()
    if not setting:
        return
    name, _, nth = setting.partition(":")
    if name not in POINTS or not (nth or "1").isdigit():
        raise InvariantError(f"{ENVIRONMENT}={setting}: expected name:nth with a name of {sorted(POINTS)}")
    _armed.extend((name, int(nth or "1")))


def point(name: str) -> None:
    """Die here if this is the armed pass; `name` must be one of `POINTS`."""
    if not _armed:
        return
    if name not in POINTS:
        raise InvariantError(f"crash point {name!r} is not registered: add it to schemas.crash.POINTS")
    if _armed[0] != name:
        return
    left = int(_armed[1]) - 1
    _armed[1] = left
    if left == 0:
        os.write(2, f"crash: {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get(ENVIRONMENT))
