"""app.bsky.graph: who follows and blocks whom."""

from __future__ import annotations

from api.xrpc import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = ()
