"""The AppView asked in process, as the dispatcher would: parameters from strings, answers held against the lexicon."""

from __future__ import annotations

import time
from copy import copy
from typing import Any

import orjson

from api import apps
from api.appview.late import Part, within
from api.appview.reader import AppViewReader
from api.xrpc import Answer, Ctx, Services
from schemas.data import from_json
from schemas.errors import Refused, XrpcError
from schemas.lexicon import load
from schemas.syntax import Did
from views.store import Store
from views.store_scylla import ScyllaStore

Json = dict[str, Any]


class AnsweredError(Exception):
    """An error answer, by its name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class InProcess:
    """`ask(nsid, viewer, **parameters)`: the JSON of the answer. Raises AnsweredError."""

    def __init__(self, store: Store, **more: Any) -> None:
        self.store = store
        if isinstance(store, ScyllaStore):
            more.setdefault("in_time", within(600.0, _given_up))
        self._catalogue = load()
        self._endpoints = {endpoint.nsid: endpoint for endpoint in apps.VIEWS}
        reader = AppViewReader(store, "http://images.test", **more)
        self._services = Services(
            appview=reader, catalogue=self._catalogue, now=lambda: time.time_ns() // 1000, config=None, fresh=None
        )
        self.asked = 0

    def since(self, moment: float) -> InProcess:
        """For who is to be shown nothing that was read before."""
        other = copy(self)
        other._services = self._services.since(moment)
        return other

    async def answer(self, nsid: str, viewer: str | None, **parameters: Any) -> Answer:
        """As it would be sent, held against nothing: for who measures. Raises XrpcError and Refused."""
        query = {name: _text(value) for name, value in parameters.items() if value is not None}
        params = self._catalogue.method(nsid).params(query)
        ctx = Ctx(nsid, self._services, params=params, viewer=None if viewer is None else Did(viewer))
        return await self._endpoints[nsid].handle(ctx)

    async def ask(self, nsid: str, viewer: str | None, **parameters: Any) -> Json:
        self.asked += 1
        method = self._catalogue.method(nsid)
        try:
            answer = await self.answer(nsid, viewer, **parameters)
        except XrpcError as error:
            raise AnsweredError(error.name or "InvalidRequest") from error
        except Refused as error:
            raise AnsweredError("InvalidRequest") from error
        said = orjson.loads(answer) if isinstance(answer, bytes) else answer
        method.check_output(from_json(said))
        return said


def _given_up(part: Part) -> None:
    raise AssertionError(f"{part} did not come")


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return [str(item) for item in value] if isinstance(value, list | tuple) else str(value)
