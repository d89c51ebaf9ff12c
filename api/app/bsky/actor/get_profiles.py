"""app.bsky.actor.getProfiles: some accounts, in detail; who is not there is left out."""

from __future__ import annotations

from api.appview import present_actor
from api.appview.counts import Counts, load_counts
from api.appview.loader import Loader
from api.appview.reader import AppViewReader
from api.appview.rules import account_shows
from api.xrpc import Auth, Ctx, Endpoint


async def skeleton(reader: AppViewReader, actors: list[str]) -> list[str]:
    found = [await reader.find(actor) for actor in dict.fromkeys(actors)]
    return list(dict.fromkeys(did for did in found if did is not None))


async def hydrate(loaded: Loader, dids: list[str]) -> Counts:
    counts: Counts = {}
    await load_counts(loaded, dids, counts)
    await loaded.load_accounts(dids)
    return counts


def rules(loaded: Loader, dids: list[str]) -> list[str]:
    return [did for did in dids if loaded.actors[did] is not None and account_shows(loaded, did)]


def present(loaded: Loader, dids: list[str], counts: Counts) -> bytes:
    return b'{"profiles":[%b]}' % b",".join(present_actor.detailed(loaded, did, counts.get(did)) for did in dids)


async def handle(ctx: Ctx) -> bytes:
    reader = ctx.services.appview
    loaded = reader.loader(ctx.viewer)
    dids = await skeleton(reader, ctx.params["actors"])
    counts = await hydrate(loaded, dids)
    return reader.send(present(loaded, rules(loaded, dids), counts))


ENDPOINT = Endpoint("app.bsky.actor.getProfiles", handle, Auth.OPTIONAL)
