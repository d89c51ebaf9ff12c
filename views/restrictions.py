"""What restricts an account's records: takedowns by moderation, thread gates and post gates by their author.

All in the account's partition, so that one statement an account tells a page whether anything restricts what it shows:
most often nothing does. A gate rules where it stands: in the post's own repo, at the post's own key. What it does to a
reply or a quote is decided at read, so that nothing depends on which came to us first. Does not own follows
(`follows_by_actor`) nor whom a post mentions (`posts`), which rules of a gate may name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.data import cbor_to_json
from schemas.entries import TakedownEntry
from views.record import POST, POSTGATE, THREADGATE, Record, authority
from views.table import Key, Row, Table, blob, integer, text
from views.view import TAKEDOWN, View

TAKEN: Final = 0
THREAD: Final = 1
QUOTES: Final = 2

CLOSED: Final = 1
MENTIONED: Final = 2
FOLLOWING: Final = 4
FOLLOWERS: Final = 8
UNQUOTABLE: Final = 16

TABLE = Table(
    "restrictions",
    "records",
    partition=(text("did", "whose record it is"),),
    clustering=(
        integer("kind", "TAKEN (hidden at read), THREAD (who may answer below a post) or QUOTES (who may quote it)"),
        text("subject", "URI of the record: of a gate, the post; the thread's root"),
    ),
    columns=(
        text("uri", "of the gate; empty for a takedown"),
        blob("view", "of a thread gate: a threadgateView, whole; else NULL"),
        integer(
            "rules",
            "bits CLOSED (only whom a rule lets in), MENTIONED, FOLLOWING, FOLLOWERS; no list lets in;"
            " UNQUOTABLE where nobody but its author may quote the post",
        ),
        text("detached", "of a post gate: URIs of the posts that quote and do not show it, joined by spaces"),
        integer("since", "unix microseconds: min(createdAt, first_time); replies and quotes from before it stay"),
    ),
)

_BITS = {
    f"{THREADGATE}#mentionRule": MENTIONED,
    f"{THREADGATE}#followingRule": FOLLOWING,
    f"{THREADGATE}#followerRule": FOLLOWERS,
}
_DISABLE = f"{POSTGATE}#disableRule"


def key(kind: int, uri: str) -> Key:
    """What `get_many` finds a restriction of a record by."""
    return (authority(uri), kind, uri)


def _taken(entry: TakedownEntry) -> Sequence[Row]:
    return ((*key(TAKEN, entry.uri), "", None, 0, "", 0),)


def _thread(gate: Record) -> Sequence[Row]:
    post = _gated(gate)
    if post is None:
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
    return ((gate.did, THREAD, post, gate.uri, view, rules, "", gate.sort_at),)


def _quotes(gate: Record) -> Sequence[Row]:
    post = _gated(gate)
    if post is None:
        return ()
    disabled = any(rule.get("$type") == _DISABLE for rule in gate.value.get("embeddingRules", ()))
    detached = " ".join(gate.value.get("detachedEmbeddingUris", ()))
    return ((gate.did, QUOTES, post, gate.uri, None, UNQUOTABLE if disabled else 0, detached, gate.sort_at),)


def _gated(gate: Record) -> str | None:
    post = f"at://{gate.did}/{POST}/{gate.rkey}"
    if gate.value["post"] != post:
        return None
    return post


VIEW = View(TABLE, rows={TAKEDOWN: _taken, THREADGATE: _thread, POSTGATE: _quotes})
