"""com.atproto.admin.updateSubjectStatus: take down an account, a record or a blob, or reverse it.

Of accounts that are not hosted here only what our views show can be taken down: the log gets the moderation entry.
"""

from __future__ import annotations

from typing import Any

from api.errors import invalid_request
from api.xrpc import Answer, Auth, Ctx, Endpoint
from schemas.cid import Cid
from schemas.datetimes import from_micros
from schemas.entries import Moderation
from schemas.syntax import AtUri, Did

REPO, RECORD, BLOB = (
    "com.atproto.admin.defs#repoRef",
    "com.atproto.repo.strongRef",
    "com.atproto.admin.defs#repoBlobRef",
)


async def handle(ctx: Ctx) -> Answer:
    body = ctx.input
    subject, takedown, deactivated = body["subject"], body.get("takedown"), body.get("deactivated")
    kind = subject.get("$type")
    if kind not in (REPO, RECORD, BLOB):
        raise invalid_request("Invalid subject")
    if takedown is not None:
        await _take_down(ctx, kind, subject, _reference(ctx, takedown))
    if deactivated is not None and kind == REPO:
        pds, did = ctx.services.pds, Did(subject["did"])
        await (pds.deactivate_account(did) if deactivated["applied"] else pds.activate_account(did))
    answer: dict[str, Any] = {"subject": subject}
    if takedown is not None:
        answer["takedown"] = takedown
    return answer


def _reference(ctx: Ctx, takedown: dict[str, Any]) -> str | None:
    """What the takedown is known by: the caller's reference, or the time."""
    if not takedown["applied"]:
        return None
    return takedown.get("ref") or from_micros(ctx.services.now())


async def _take_down(ctx: Ctx, kind: str, subject: dict[str, Any], reference: str | None) -> None:
    services = ctx.services
    if kind == BLOB:
        await services.pds.takedowns.take_down_blob(Did(subject["did"]), Cid.parse(subject["cid"]), reference)
        return
    name = subject["did"] if kind == REPO else str(_record(subject["uri"]))
    did = subject["did"] if kind == REPO else _record(subject["uri"]).authority
    if services.pds.hosts(did):
        await services.pds.takedowns.take_down(name, reference)
    else:
        await services.log.append(Moderation(name, reference))


def _record(uri: str) -> AtUri:
    parsed = AtUri.parse(uri)
    if not Did.is_valid(parsed.authority) or not parsed.rkey:
        raise invalid_request("Invalid subject: a record is named by at://did/collection/rkey")
    return parsed


ENDPOINT = Endpoint("com.atproto.admin.updateSubjectStatus", handle, Auth.ADMIN)
