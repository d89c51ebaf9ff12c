"""com.atproto.server.checkAccountStatus: how far a migration has come."""

from __future__ import annotations

from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    status = await ctx.services.pds.check_account_status(ctx.account)
    counts = status.counts
    return {
        "activated": status.activated,
        "validDid": status.valid_did,
        "repoCommit": str(status.commit),
        "repoRev": status.rev,
        "repoBlocks": counts.nodes + counts.records,
        "indexedRecords": counts.records,
        "privateStateValues": 0,
        "expectedBlobs": counts.expected_blobs,
        "importedBlobs": counts.imported_blobs,
    }


ENDPOINT = Endpoint("com.atproto.server.checkAccountStatus", handle, Auth.ACCESS)
