"""Who may quote a post, and which quotes its author has detached it from: its post gate.

A gate rules where it stands: in the post's own repo, at the post's own key. What it does to a quote is decided at read.
"""

from __future__ import annotations

from collections.abc import Sequence

from views.record import POST, POSTGATE, Record
from views.table import Row, Table, integer, text
from views.view import View

TABLE = Table(
    "postgates",
    "records",
    partition=(text("post", "URI of the post that is quoted"),),
    columns=(
        text("uri", "of the gate"),
        integer("disabled", "1 where nobody but its author may quote the post"),
        text("detached", "URIs of the posts that quote it and do not show it, joined by spaces"),
        integer("since", "unix microseconds: min(createdAt, first_time); quotes that were here before stay"),
    ),
)

_DISABLE = f"{POSTGATE}#disableRule"


def _rows(gate: Record) -> Sequence[Row]:
    value, post = gate.value, f"at://{gate.did}/{POST}/{gate.rkey}"
    if value["post"] != post:
        return ()
    disabled = any(rule.get("$type") == _DISABLE for rule in value.get("embeddingRules", ()))
    return ((post, gate.uri, int(disabled), " ".join(value.get("detachedEmbeddingUris", ())), gate.sort_at),)


VIEW = View(TABLE, rows={POSTGATE: _rows})
