"""The timestamp of every CQL statement: a place in the log, never a clock (invariant 6).

A replay or a worker that lost its shard writes what is older, and an older write loses in the store itself. Does not
own which offset a key has: that of the entry that last touched it, in the one topic its table is written from.
"""

from __future__ import annotations

from typing import Final, Literal

from schemas.errors import InvariantError

DELETE: Final = 0
PUT: Final = 1  # above DELETE: at equal timestamps a delete would win, also inside one batch

_OFFSETS: Final = 1 << 40
# 2026-01-01 in unix microseconds: whatever a clock stamped by mistake lies above every version, and is found by it.
_TODAY: Final = 1_767_225_600_000_000
EPOCH_MAX: Final = (_TODAY >> 44) - 1


def version(epoch: int, offset: int, op: Literal[0, 1]) -> int:
    """`epoch` rises when a log is replaced. Raises InvariantError for what does not fit."""
    if not 0 <= offset < _OFFSETS:
        raise InvariantError(f"a version has room for offsets below 2**40, found {offset}: is it an offset of the log?")
    if not 0 <= epoch <= EPOCH_MAX:
        raise InvariantError(
            f"epoch {epoch}: expected 0 to {EPOCH_MAX}, so that versions stay below the microseconds of today:"
            " set the one in the cluster's settings that counts how often its log was replaced"
        )
    return epoch << 44 | offset << 4 | op
