"""Who may answer below a post: its thread gate, as rules and ready to send.

A gate rules where it stands: in the post's own repo, at the post's own key. Whether a reply violates it is decided at
read, so that nothing depends on which came to us first. Does not own follows (`follows_by_actor`), nor whom the post
mentions (`posts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.data import cbor_to_json
from views.record import POST, THREADGATE, Record
from views.table import Row, Table, blob, integer, text
from views.view import View

CLOSED: Final = 1
MENTIONED: Final = 2
FOLLOWING: Final = 4
FOLLOWERS: Final = 8

TABLE = Table(
    "threadgates",
    "records",
    partition=(text("post", "URI of the thread's root"),),
    columns=(
        text("uri", "of the gate"),
        blob("view", "a threadgateView, whole"),
        integer("rules", "bits CLOSED (only whom a rule lets in), MENTIONED, FOLLOWING, FOLLOWERS; no list lets in"),
        integer("since", "unix microseconds: min(createdAt, first_time); replies that were here before stay"),
    ),
)

_BITS = {
    f"{THREADGATE}#mentionRule": MENTIONED,
    f"{THREADGATE}#followingRule": FOLLOWING,
    f"{THREADGATE}#followerRule": FOLLOWERS,
}


def _rows(gate: Record) -> Sequence[Row]:
    post = f"at://{gate.did}/{POST}/{gate.rkey}"
    if gate.value["post"] != post:
        return ()
    allow = gate.value.get("allow")
    rules = 0
    if allow is not None:
        rules = CLOSED
        for rule in allow:
            rules |= _BITS.get(rule.get("$type", ""), 0)
    view = b'{"uri":"%b","cid":"%b","record":%b,"lists":[]}' % (
        gate.uri.encode(),
        gate.cid.encode(),
        cbor_to_json(gate.data),
    )
    return ((post, gate.uri, view, rules, gate.sort_at),)


VIEW = View(TABLE, rows={THREADGATE: _rows})
