"""app.bsky.actor.putPreferences: replace what the caller's clients have kept here."""

from __future__ import annotations

from api.xrpc import Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> None:
    await ctx.services.pds.put_preferences(ctx.account, ctx.input["preferences"])


ENDPOINT = Endpoint("app.bsky.actor.putPreferences", handle, Auth.ACCESS)
