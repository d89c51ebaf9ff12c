"""app.bsky.actor.getPreferences: what the caller's clients have kept here."""

from __future__ import annotations

from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    return {"preferences": ctx.services.pds.preferences(ctx.account)}


ENDPOINT = Endpoint("app.bsky.actor.getPreferences", handle, Auth.ACCESS)
