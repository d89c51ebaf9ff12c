"""Asks the AppView over a test's world; every answer is held to its lexicon."""

from __future__ import annotations

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

    async def statics(self, table, partitions):
        self.keys += len(partitions)
        return await self._store.statics(table, partitions)

    async def slice(self, *args, **more):
        self.slices += 1
        return await self._store.slice(*args, **more)


class AppView:
    def __init__(self, store, **more):
        self.store = Counting(store)
        if isinstance(store, TestsStore):
            more.setdefault("in_time", REMOTE)
        self.services = Services(appview=AppViewReader(self.store, IMAGES, **more))

    async def get(self, nsid, viewer=None, **query):
        return orjson.loads(await self.raw(nsid, viewer, **query))

    async def raw(self, nsid, viewer=None, **query):
        method = load().method(nsid)
        params = MultiDict()
        for name, value in query.items():
            for each in value if isinstance(value, list) else [value]:
                params.add(name, str(each).lower() if isinstance(each, bool) else str(each))
        ctx = Ctx(nsid, self.services, params=method.params(params), viewer=viewer and Did(viewer))
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
