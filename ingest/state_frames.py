"""The firehose frames that derive makes itself: #account and #identity, split around `seq`.

Shapes: com.atproto.sync.subscribeRepos. Commits and #syncs come with their frames (`ingest.repo.frame`).
"""

from __future__ import annotations

from schemas.cbor import encode
from schemas.datetimes import from_micros
from schemas.entries import Status
from schemas.syntax import Did, Handle

_ACCOUNT = encode({"t": "#account", "op": 1})
_IDENTITY = encode({"t": "#identity", "op": 1})
_SEQ = encode("seq")


def account_frame(did: Did, status: Status, time: int) -> tuple[bytes, bytes]:
    """(head, tail); `status` is the state readers apply, `time` unix microseconds."""
    if status == "active":
        return _split(_ACCOUNT, did, {"time": from_micros(time), "active": True})
    return _split(_ACCOUNT, did, {"time": from_micros(time), "active": False, "status": status})


def identity_frame(did: Did, handle: Handle | None, time: int) -> tuple[bytes, bytes]:
    """(head, tail); `handle` is left out when none holds."""
    rest = {"time": from_micros(time)}
    return _split(_IDENTITY, did, rest if handle is None else {**rest, "handle": str(handle)})


def _split(header: bytes, did: Did, rest: dict[str, object] | dict[str, str]) -> tuple[bytes, bytes]:
    """In canonical order `did` and `seq`, the shortest keys, come first: the rest is a map of its own less its head."""
    head = header + bytes((0xA0 + len(rest) + 2,)) + encode("did") + encode(str(did)) + _SEQ
    return head, encode(rest)[1:]
