"""What the methods of com.atproto.repo say alike."""

from __future__ import annotations

from typing import Any

from api.xrpc import Ctx
from ingest.pds.rate_limit import CREATE_POINTS, DELETE_POINTS, UPDATE_POINTS
from ingest.pds.reads import RecordView
from ingest.pds.writer import Applied, Written
from ingest.pds.writes import UNSET, Unset
from schemas.cid import Cid

_POINTS = {"create": CREATE_POINTS, "update": UPDATE_POINTS, "delete": DELETE_POINTS}


def points(action: str) -> int:
    """What one write counts against the limits of repo writes."""
    return _POINTS[action]


def swap_commit(ctx: Ctx) -> Cid | None:
    text = ctx.input.get("swapCommit")
    return None if text is None else Cid.parse(text)


def swap_record(ctx: Ctx) -> Cid | Unset | None:
    """Absent: not asked for. Null: there must be no record."""
    body = ctx.input
    if "swapRecord" not in body:
        return UNSET
    text = body["swapRecord"]
    return None if text is None else Cid.parse(text)


def commit_of(applied: Applied) -> dict[str, Any]:
    """`{"commit": {cid, rev}}`, or nothing when nothing changed."""
    return {} if applied.commit is None else {"commit": {"cid": str(applied.commit), "rev": applied.rev}}


def written(result: Written) -> dict[str, Any]:
    answer = {"uri": result.uri, "cid": str(result.cid)}
    if result.status is not None:
        answer["validationStatus"] = result.status
    return answer


def record_json(view: RecordView) -> bytes:
    """`{uri, cid, value}` with the value as it is kept: serialised once."""
    return b'{"uri":"%b","cid":"%b","value":%b}' % (view.uri.encode(), str(view.cid).encode(), view.value)
