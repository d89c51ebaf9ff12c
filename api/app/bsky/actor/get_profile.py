"""app.bsky.actor.getProfile: one account, in detail."""

from __future__ import annotations

from api.appview import present_actor
from api.appview.counts import Counts, load_counts
from api.appview.loader import Loader
from api.appview.reader import AppViewReader, profile_not_found
from api.appview.rules import check_account
from api.xrpc import Auth, Ctx, Endpoint


async def skeleton(reader: AppViewReader, actor: str, loaded: Loader) -> str:
    did, loaded.actors[did] = await reader.account(actor, profile_not_found())
    return did


async def hydrate(loaded: Loader, did: str) -> Counts:
    counts: Counts = {}
    await load_counts(loaded, (did,), counts)
    await loaded.load_accounts((did,))
    return counts


def rules(loaded: Loader, did: str) -> None:
    check_account(loaded.actors[did])


def present(loaded: Loader, did: str, counts: Counts) -> bytes:
    return present_actor.detailed(loaded, did, counts.get(did))


async def handle(ctx: Ctx) -> bytes:
    reader = ctx.services.appview
    loaded = reader.loader(ctx.viewer)
    did = await skeleton(reader, ctx.params["actor"], loaded)
    counts = await hydrate(loaded, did)
    rules(loaded, did)
    return reader.send(present(loaded, did, counts))


ENDPOINT = Endpoint("app.bsky.actor.getProfile", handle, Auth.OPTIONAL)
