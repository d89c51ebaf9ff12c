"""com.atproto.repo.importRepo: a whole repo as CAR, in place of what is there."""

from __future__ import annotations

from api.errors import too_large
from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    body, pds = ctx.body, ctx.services.pds
    assert body is not None, "the lexicon demands a body"
    if body.length is not None and body.length > pds.settings.import_limit:
        raise too_large()
    await pds.import_repo(ctx.account, body.chunks)
    return None


ENDPOINT = Endpoint("com.atproto.repo.importRepo", handle, Auth.FULL)
