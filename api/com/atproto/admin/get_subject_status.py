"""com.atproto.admin.getSubjectStatus: whether an account, a record or a blob is taken down."""

from __future__ import annotations

from typing import Any

from api.com.atproto.admin.update_subject_status import BLOB, RECORD, REPO
from api.errors import invalid_request
from api.xrpc import Answer, Auth, Ctx, Endpoint
from ingest.pds.answers import Takedown
from schemas.cid import Cid
from schemas.errors import XrpcError
from schemas.syntax import AtUri, Did


async def handle(ctx: Ctx) -> Answer:
    params, pds = ctx.params, ctx.services.pds
    did, uri, blob = params.get("did"), params.get("uri"), params.get("blob")
    subject: dict[str, Any]
    if blob is not None:
        if did is None:
            raise invalid_request("Must provide a did to request blob state")
        subject = {"$type": BLOB, "did": did, "cid": blob}
        found = pds.takedowns.blob_takedown(Did(did), Cid.parse(blob))
    elif uri is not None:
        parsed = AtUri.parse(uri)
        held = await pds.held(Did(parsed.authority), f"{parsed.collection}/{parsed.rkey}")
        subject = {"$type": RECORD, "uri": uri, "cid": "" if held is None else str(held)}
        found = None if held is None else pds.takedowns.takedown(uri)
    elif did is not None:
        subject = {"$type": REPO, "did": did}
        found = pds.takedowns.takedown(did) or _foreign(ctx, did)
    else:
        raise invalid_request("No provided subject")
    if found is None:
        raise XrpcError("NotFound", "Subject not found")
    takedown: dict[str, Any] = {"applied": found.reference is not None}
    if found.reference is not None:
        takedown["ref"] = found.reference
    answer: dict[str, Any] = {"subject": subject, "takedown": takedown}
    if found.deactivated:
        answer["deactivated"] = {"applied": True}
    return answer


def _foreign(ctx: Ctx, did: str) -> Takedown | None:
    """Of an account that is not hosted here the log knows whether it is taken down, not under which reference."""
    head = ctx.services.log.head(did)
    return None if head is None else Takedown(did, "taken down" if head.taken_down else None)


ENDPOINT = Endpoint("com.atproto.admin.getSubjectStatus", handle, Auth.ADMIN)
