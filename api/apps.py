"""Which packages of endpoints each role serves. A new package is one name here.

`PDS` works on accounts and the log; `RELAY` answers for accounts that live elsewhere; `FIREHOSE` follows the log
alone; `VIEWS` reads what processors computed: its reads wait for the viewer's own writes.
"""

from __future__ import annotations

from api.app.bsky import actor, bookmark, feed, graph
from api.com.atproto import admin, identity, repo, server, sync
from api.com.atproto.sync import subscribe_repos
from api.xrpc import Endpoint

PDS: tuple[Endpoint, ...] = (
    *actor.PDS_ENDPOINTS,
    *admin.ENDPOINTS,
    *identity.ENDPOINTS,
    *repo.ENDPOINTS,
    *server.ENDPOINTS,
    *sync.ENDPOINTS,
)

RELAY: tuple[Endpoint, ...] = sync.RELAY_ENDPOINTS

FIREHOSE: tuple[Endpoint, ...] = (subscribe_repos.ENDPOINT,)

VIEWS: tuple[Endpoint, ...] = (
    *actor.ENDPOINTS,
    *bookmark.ENDPOINTS,
    *feed.ENDPOINTS,
    *graph.ENDPOINTS,
)
