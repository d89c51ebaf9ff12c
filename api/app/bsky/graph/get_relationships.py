"""app.bsky.graph.getRelationships: how an account stands to others; public, so that no viewer changes the answer."""

from __future__ import annotations

from typing import Any

from api.appview.late import Part
from api.appview.loader import Loader
from api.appview.reader import AppViewReader
from api.errors import unavailable
from api.xrpc import Ctx, Endpoint


async def skeleton(reader: AppViewReader, others: list[str]) -> list[tuple[str, str | None]]:
    """As asked for, with the DID where there is one."""
    return [(other, await reader.find(other)) for other in dict.fromkeys(others)]


async def hydrate(loaded: Loader, found: list[tuple[str, str | None]]) -> None:
    await loaded.load_accounts([did for _, did in found if did is not None])
    if Part.FOLLOWS in loaded.late:
        raise unavailable("Follows cannot be read now; try again")


def present(loaded: Loader, actor: str, found: list[tuple[str, str | None]]) -> list[dict[str, Any]]:
    views = []
    for asked, did in found:
        if did is None:
            views.append(_not_found(asked))
            continue
        view: dict[str, Any] = {"$type": "app.bsky.graph.defs#relationship", "did": did}
        if did != actor:
            following, followed_by = loaded.follows[actor, did], loaded.follows[did, actor]
            blocking, blocked_by = loaded.blocks[actor, did], loaded.blocks[did, actor]
            if following is not None:
                view["following"] = following
            if followed_by is not None:
                view["followedBy"] = followed_by
            if blocking is not None:
                view["blocking"] = blocking
            if blocked_by is not None:
                view["blockedBy"] = blocked_by
        views.append(view)
    return views


def _not_found(actor: str) -> dict[str, Any]:
    return {"$type": "app.bsky.graph.defs#notFoundActor", "actor": actor, "notFound": True}


async def handle(ctx: Ctx) -> dict[str, Any]:
    reader = ctx.services.appview
    others = ctx.params.get("others", [])
    actor = await reader.find(ctx.params["actor"])
    if actor is None:
        # As the reference has it, though the lexicon knows an error for this.
        return {"relationships": [_not_found(other) for other in others]}
    loaded = reader.loader(actor)
    found = await skeleton(reader, others)
    await hydrate(loaded, found)
    return {"actor": actor, "relationships": present(loaded, actor, found)}


ENDPOINT = Endpoint("app.bsky.graph.getRelationships", handle)
