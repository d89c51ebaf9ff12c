"""app.bsky.actor.searchActorsTypeahead: accounts whose handle begins with the query, or whose name has its words.

A query of one character finds nobody: no partition is kept for it.
"""

from __future__ import annotations

import unicodedata

from api.appview import people
from api.appview.late import Part
from api.appview.loader import Loader
from api.appview.present_actor import basic
from api.appview.reader import AppViewReader
from api.xrpc import Auth, Ctx, Endpoint
from views import actors_by_prefix
from views.actors_by_prefix import LONGEST, SHORTEST, words_of
from views.table import Row

_READ_MOST = 400  # candidates of one prefix
_QUERY_MOST = 256
_HANDLE, _DID, _WORDS = (actors_by_prefix.TABLE.index(name) for name in ("handle", "did", "words"))


async def skeleton(reader: AppViewReader, loaded: Loader, query: str) -> list[str]:
    text = unicodedata.normalize("NFKC", query[:_QUERY_MOST]).casefold().strip().removeprefix("@")
    words = words_of(text)
    found: dict[str, None] = {}

    async def read() -> None:
        # A handle is found by its beginning, dots and hyphens included, a name by its words: not always one partition.
        for prefix in dict.fromkeys([text[:LONGEST], *(word[:LONGEST] for word in words[:1])]):
            if len(prefix) >= SHORTEST:
                rows = await reader.store.slice(actors_by_prefix.TABLE, (prefix,), limit=_READ_MOST)
                found.update((row[_DID], None) for row in rows if _matches(row, text, words))

    await loaded.optional(Part.TYPEAHEAD, read)
    return list(found)


def _matches(row: Row, text: str, words: list[str]) -> bool:
    if row[_HANDLE].startswith(text):
        return True
    names = row[_WORDS].split(" ")
    return bool(words) and all(any(name.startswith(word) for name in names) for word in words)


async def hydrate(loaded: Loader, dids: list[str]) -> None:
    await people.hydrate(loaded, dids)


def rules(loaded: Loader, dids: list[str]) -> list[str]:
    return [did for did in dids if people.may_be_listed(loaded, did)]


def present(loaded: Loader, dids: list[str]) -> bytes:
    return b'{"actors":[%b]}' % b",".join([basic(loaded, did) for did in dids])


async def handle(ctx: Ctx) -> bytes:
    reader, params = ctx.services.appview, ctx.params
    loaded = reader.loader(ctx.viewer)
    limit = params["limit"]
    # A few more than wanted, for what the rules take.
    dids = (await skeleton(reader, loaded, params.get("q") or params.get("term") or ""))[: 2 * limit]
    await hydrate(loaded, dids)
    return reader.send(present(loaded, rules(loaded, dids)[:limit]))


ENDPOINT = Endpoint("app.bsky.actor.searchActorsTypeahead", handle, Auth.OPTIONAL)
