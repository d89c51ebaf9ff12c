"""Asks the AppView over a test's world; every answer is held to its lexicon."""

from __future__ import annotations

import time
from copy import copy

import orjson
import pytest
from multidict import MultiDict

from api import apps
from api.appview.late import within
from api.appview.reader import AppViewReader
from api.xrpc import Ctx, Services
from schemas import data
from schemas.errors import XrpcError
from schemas.lexicon import load
from schemas.syntax import Did
from tests.support.cql_views import TestsStore
from views.cql.lookup import grouped
from views.store_recent import RecentStore

IMAGES = "https://img.example"
ENDPOINTS = {endpoint.nsid: endpoint for endpoint in apps.VIEWS}


REMOTE = within(600.0, print)
"""The reader of a store across a network, from whom nothing is withheld."""


class Counting:
    """A store that counts as CQL would: one statement for keys of one partition, one a slice."""

    def __init__(self, store):
        self._store = store
        self.keys = self.slices = 0

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def get_many(self, table, keys):
        self.keys += len(grouped(table, keys))
        return await self._store.get_many(table, keys)

    async def beginnings(self, table, partitions, *, limit):
        self.keys += len(partitions)
        return [await self._store.slice(table, partition, limit=limit) for partition in partitions]

    async def statics(self, table, partitions):
        self.keys += len(partitions)
        return await self._store.statics(table, partitions)

    async def slice(self, *args, **more):
        self.slices += 1
        return await self._store.slice(*args, **more)


class AppView:
    """`kept`: seconds for which rows are kept between requests, by the clock `now`.

    On a cluster's store they are kept, and each request demands what is newer than it.
    """

    def __init__(self, store, *, kept=0.0, now=time.monotonic, **more):
        self.store = Counting(store)
        self._newer = isinstance(store, TestsStore)
        if self._newer:
            more.setdefault("in_time", REMOTE)
            kept = kept or 1.0
        rows = RecentStore(self.store, kept, now=now) if kept else self.store
        self._now = now
        self.services = Services(appview=AppViewReader(rows, IMAGES, **more), fresh=None)

    def since(self, moment):
        """For a request that is shown nothing older."""
        other = copy(self)
        other.services = self.services.since(moment)
        return other

    async def get(self, nsid, viewer=None, **query):
        return orjson.loads(await self.raw(nsid, viewer, **query))

    async def raw(self, nsid, viewer=None, **query):
        method = load().method(nsid)
        params = MultiDict()
        for name, value in query.items():
            for each in value if isinstance(value, list) else [value]:
                params.add(name, str(each).lower() if isinstance(each, bool) else str(each))
        services = self.services.since(self._now()) if self._newer else self.services
        ctx = Ctx(nsid, services, params=method.params(params), viewer=viewer and Did(viewer))
        answer = await ENDPOINTS[nsid].handle(ctx)
        body = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        assert b"\x00" not in body
        method.check_output(data.from_json(orjson.loads(body)))
        return body

    async def refusal(self, nsid, viewer=None, **query):
        with pytest.raises(XrpcError) as caught:
            await self.get(nsid, viewer, **query)
        return caught.value.status, caught.value.name, caught.value.message

    async def all_pages(self, nsid, member, viewer=None, **query):
        found, cursor = [], {}
        for _ in range(200):
            page = await self.get(nsid, viewer, **query, **cursor)
            found += page[member]
            if "cursor" not in page:
                return found
            cursor = {"cursor": page["cursor"]}
        raise AssertionError(f"{nsid} has no end")
