"""Which posts of a thread the author of its root likes."""

from __future__ import annotations

from collections.abc import Iterable

from api.appview.late import Part
from api.appview.loader import Loader
from views import likes_by_actor
from views.table import Row


async def load_root_likes(loaded: Loader, author: str, shown: Iterable[str]) -> dict[str, Row | None]:
    """By URI, the like that counts; none when the author's account has liked none, or what it likes is late."""
    if author == loaded.viewer:
        return loaded.likes
    uris = [uri for uri in shown if loaded.posts[uri] is not None]
    keys = [likes_by_actor.key(author, uri) for uri in uris]
    found: dict[str, Row | None] = {}

    async def read() -> None:
        found.update(zip(uris, await loaded.store.get_many(likes_by_actor.TABLE, keys), strict=True))

    await loaded.optional(Part.ROOT_LIKES, read)
    return found
