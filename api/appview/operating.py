"""What the AppView writes for its caller: into `operations`, durable and shown before the caller is answered.

The wait for the views is bounded (`api.fresh`): an answer says that it is durable. Does not own what is written.
"""

from __future__ import annotations

from api.errors import invalid_request
from api.xrpc import Ctx
from schemas.errors import XrpcError
from schemas.operations import Operation
from schemas.syntax import AtUri
from views.record import POST


async def put(ctx: Ctx, kind: str, subject: str, value: bytes | None) -> None:
    """Set one key of the caller's; None takes it away. Raises XrpcError when the log cannot say."""
    services = ctx.services
    told = await services.operations.operate(Operation(ctx.account, kind, subject, value))
    await services.fresh.written(told.shard, told.offset)


async def other_account(ctx: Ctx, actor: str) -> str:
    """The DID of somebody else whom the caller names. Raises XrpcError."""
    did = await ctx.services.appview.find(actor)
    if did is None:
        raise invalid_request("Actor not found")
    if did == ctx.account:
        raise invalid_request("Cannot mute oneself")
    return did


async def post_uri(ctx: Ctx, uri: str) -> str:
    """The URI of a post, with a DID for its authority. Raises XrpcError for what is no post's."""
    if AtUri(uri).collection != POST:
        raise XrpcError("UnsupportedCollection", f"Only '{POST}' records can be bookmarked")
    return await ctx.services.appview.resolve_uri(uri)
