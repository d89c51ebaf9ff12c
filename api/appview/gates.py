"""What gates permit: who may answer in a thread, who may quote a post, which quotes show nothing. Pure.

Judged from what the records say now. One thing is about time: an answer or a quote that the log had before the gate was
made stays. Its own date is not believed (anybody may date back), the gate's is (its owner may let in less than that).
Lists are no views yet: a rule that names one lets nobody in. Does not own loading (`appview.loader`).
"""

from __future__ import annotations

from api.appview.loader import ROOT, Loader
from views import posts, restrictions
from views.restrictions import CLOSED, FOLLOWERS, FOLLOWING, MENTIONED, UNQUOTABLE
from views.table import Row

_INDEXED_AT, _MENTIONS = posts.TABLE.index("indexed_at"), posts.TABLE.index("mentions")
_URI, VIEW, _RULES, _DETACHED, _SINCE = (
    restrictions.TABLE.index(name) for name in ("uri", "view", "rules", "detached", "since")
)


def threadgate(loaded: Loader, root: str) -> Row | None:
    """The gate of the thread below `root`, if there is one that is not taken down."""
    return _standing(loaded, loaded.threadgates.get(root))


def violates(loaded: Loader, uri: str, row: Row) -> bool:
    """Whether a reply stands in a thread that its author may not answer in."""
    root = row[ROOT]
    gate = None if root is None else threadgate(loaded, root)
    if gate is None or row[_INDEXED_AT] < gate[_SINCE]:
        return False
    return not _may_answer(loaded, gate, root, loaded.authors[uri])


def reply_disabled(loaded: Loader, uri: str, row: Row) -> bool | None:
    """Whether the viewer may not answer a post; None where no gate says anything."""
    root = row[ROOT] or uri
    gate = threadgate(loaded, root)
    if gate is None or loaded.viewer is None:
        return None
    return violates(loaded, uri, row) or not _may_answer(loaded, gate, root, loaded.viewer)


def embedding_disabled(loaded: Loader, uri: str) -> bool:
    """Whether the viewer may not quote a post."""
    gate = None if loaded.viewer == loaded.authors[uri] else _postgate(loaded, uri)
    return gate is not None and bool(gate[_RULES] & UNQUOTABLE)


def may_not_quote(loaded: Loader, row: Row, author: str, quoted: str) -> bool:
    """Whether `author` quoted a post in `row` whose gate lets nobody."""
    gate = None if author == loaded.authors[quoted] else _postgate(loaded, quoted)
    return gate is not None and bool(gate[_RULES] & UNQUOTABLE) and row[_INDEXED_AT] >= gate[_SINCE]


def detached(loaded: Loader, uri: str, quoted: str) -> bool:
    """Whether the author of a quoted post has taken it out of the post at `uri`."""
    gate = _postgate(loaded, quoted)
    return gate is not None and uri in gate[_DETACHED].split(" ")


def _postgate(loaded: Loader, uri: str) -> Row | None:
    return _standing(loaded, loaded.postgates.get(uri))


def _standing(loaded: Loader, gate: Row | None) -> Row | None:
    return None if gate is None or loaded.taken[gate[_URI]] is not None else gate


def _may_answer(loaded: Loader, gate: Row, root: str, did: str) -> bool:
    rules, owner = gate[_RULES], loaded.authors[root]
    if did == owner or not rules & CLOSED:
        return True
    if rules & MENTIONED:
        post = loaded.roots[root]
        if post is not None and did in post[_MENTIONS].split(" "):
            return True
    if rules & FOLLOWING and loaded.follows[owner, did] is not None:
        return True
    return bool(rules & FOLLOWERS) and loaded.follows[did, owner] is not None
