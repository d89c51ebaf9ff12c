"""What a message takes in memory, so that what is held and under way is bounded in bytes that are there. Pure.

Head and tail are the frame as it came, whatever fields it has; blocks lie beside them once more, and operations are
objects, several times what they take on the wire.
"""

from __future__ import annotations

from ingest.relay.source import Numbered
from ingest.repo.messages import CommitMessage, SyncMessage

_MESSAGE = 512
_OP = 400  # an Op with its path and CIDs, measured by tracemalloc: 330 to 390


def weight(message: Numbered) -> int:
    """HOT: bytes, about."""
    size = _MESSAGE + len(message.head) + len(message.tail)
    if isinstance(message, CommitMessage):
        return size + len(message.blocks) + _OP * len(message.ops)
    return size + len(message.blocks) if isinstance(message, SyncMessage) else size
