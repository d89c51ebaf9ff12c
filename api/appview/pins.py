"""The post that an account pinned, out of its profile's fragment."""

from __future__ import annotations

import orjson

from api.appview.loader import Loader, profile_uri
from views.record import POST
from views.table import Row


def pinned_post(did: str, row: Row | None) -> str | None:
    """The URI of the pin; None also for a pin of somebody else's post, which counts for nothing."""
    if row is None or b'"pinnedPost"' not in row[7]:
        return None
    uri: str = orjson.loads(b"{%b}" % row[7][1:].replace(b"\x00", b"")).get("pinnedPost", {}).get("uri", "")
    return uri if uri.startswith(f"at://{did}/{POST}/") else None


def own_pin(loaded: Loader) -> str | None:
    """What the viewer pinned, when a page shows the viewer."""
    viewer = loaded.viewer
    if viewer is None or loaded.taken.get(profile_uri(viewer)) is not None:
        return None
    return pinned_post(viewer, loaded.actors.get(viewer))
