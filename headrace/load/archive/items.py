"""Items out of what arrives: frames by what they say of themselves, DID documents, lines of Jetstream.

Does not own how items are kept (`blocks.py`) nor whether a frame holds (`verify.py`).
"""

from __future__ import annotations

from typing import Any

import orjson

from headrace.load.archive.blocks import Item, Kind, did_key
from ingest.repo.frame import decode_frame
from ingest.repo.messages import AccountMessage, CommitMessage, IdentityMessage, Message, SyncMessage
from schemas.errors import Refused

Numbered = CommitMessage | SyncMessage | IdentityMessage | AccountMessage
_KINDS: dict[type[Message], Kind] = {
    CommitMessage: Kind.COMMIT,
    SyncMessage: Kind.SYNC,
    IdentityMessage: Kind.IDENTITY,
    AccountMessage: Kind.ACCOUNT,
}


def frame_item(frame: bytes, time: int) -> tuple[Item, Numbered | None]:
    """A received frame and its message; one that cannot be read is kept all the same, as Kind.OTHER."""
    try:
        message = decode_frame(frame)
    except Refused:
        return Item(time, 0, 0, Kind.OTHER, frame), None
    if not isinstance(message, Numbered):
        return Item(time, 0, 0, Kind.OTHER, frame), None
    return Item(time, message.seq, did_key(message.did), _KINDS[type(message)], frame), message


def document_item(did: str, document: Any, time: int) -> Item:
    """A DID document as it stood at `time`."""
    return Item(time, 0, did_key(did), Kind.DOCUMENT, orjson.dumps(document))
