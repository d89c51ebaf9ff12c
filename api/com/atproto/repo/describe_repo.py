"""com.atproto.repo.describeRepo: whose repo it is and which collections it has."""

from __future__ import annotations

from api.xrpc import Answer, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    found = await ctx.services.pds.describe_repo(ctx.params["repo"])
    return {
        "handle": found.handle,
        "did": found.did,
        "didDoc": found.did_doc,
        "collections": list(found.collections),
        "handleIsCorrect": found.handle_is_correct,
    }


ENDPOINT = Endpoint("com.atproto.repo.describeRepo", handle)
