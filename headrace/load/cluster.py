"""A cluster that a run starts: one process of each role, over a broker and a CQL store that are there.

Its topics and keyspaces have a name of the run's own, and go when it ends. Does not own the broker and the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from headrace import settings as every_setting
from headrace.load import leftovers
from headrace.load.plan import Target
from headrace.load.started import Setting, Started, TargetError
from headrace.settings import Settings, SettingsError
from headrace.wiring.cluster import kafka_settings
from headrace.wiring.store import cql_settings
from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.reach import AWAY, reach
from schemas.errors import InvariantError
from views.cql.driver import StoreUnavailableError
from views.cql.session import CqlSession
from views.cql.settings import CqlSettings

ROLES = ("plc", "derive", "process", "appview", "firehose", "pds")
RELAY = "relay"  # where other hosts are read
READY_SECONDS = 300.0  # six processes at once, and the first makes topics and tables
_DROP_SECONDS = 120.0  # for a broker or a store that hangs


class OwnCluster:
    """`roles` are the processes by name, in the order in which they are started."""

    MAIN: Final = "pds"

    def __init__(self, target: Target, folder: Path, settings: Mapping[str, Setting]) -> None:
        """Raises TargetError when its settings are wrong."""
        name = leftovers.new_cluster()
        self._target, self._folder = target, folder
        self._settings: dict[str, Setting] = {
            "shards": 2,
            "allow_private_addresses": "true",
            **settings,
            "cluster": name,
            "cql_keyspace": name,
            **_reached(target.kafka, target.cql),
        }
        self._reads_others = any(name in settings for name in ("relay_crawl", "relay_upstreams"))
        self.roles: dict[str, Started] = {}
        try:
            self._found: Settings = every_setting.load(self._settings)
        except SettingsError as error:
            raise TargetError(str(error)) from None

    @property
    def url(self) -> str:
        return self.roles[self.MAIN].addresses["xrpc"].rstrip("/")

    async def start(self) -> None:
        """What others ask first, what asks them next. Raises TargetError, at once where no broker or store answers."""
        async with _both(self._found):
            pass
        is_given = "plc_url" in self._settings
        own = [] if is_given else [self._role("plc")]
        await self._start(*own, self._role("derive"), self._role("process"))
        plc = {} if is_given else {"plc_url": self.roles["plc"].addresses["plc"]}
        others = [self._role(RELAY, relay_port=0, **plc)] if self._reads_others else []
        await self._start(self._role("appview", **plc), self._role("firehose"), *others)
        await self._start(self._role("pds", **plc, appview_url=self.roles["appview"].addresses["xrpc"]))

    async def drop(self) -> list[str]:
        """Take away what it made in the broker and the store, and what killed runs did; the names of theirs.

        Raises TargetError when one of them does not answer: what is made stays.
        """
        try:
            async with _both(self._found) as (kafka, cql):
                await leftovers.drop_cluster(kafka.cluster, kafka, cql)
                return await leftovers.drop_dead(kafka, cql)
        except TargetError as error:
            name, where = self._found.cluster, f"--kafka {self._target.kafka} --cql {self._target.cql}"
            raise TargetError(
                f"what the run made in broker and store stays there; take it away with `headrace load clean {where}"
                f" --named {name}`: {error}"
            ) from error

    def _role(self, name: str, **more: Setting) -> Started:
        made = Started(name, name, self._folder / name, {**self._settings, **more}, READY_SECONDS)
        self.roles[name] = made
        return made

    async def _start(self, *roles: Started) -> None:
        ends = await asyncio.gather(*(role.start() for role in roles), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end


async def clean(kafka: str, cql: str, named: Sequence[str]) -> list[str]:
    """Take away what killed runs left, and clusters that are `named`; all their names.

    Raises TargetError (settings that are wrong, no broker or store that answers), ValueError (a name that no run
    chose).
    """
    try:
        found = every_setting.load(_reached(kafka, cql))
    except SettingsError as error:
        raise TargetError(str(error)) from None
    async with _both(found) as (of_kafka, of_cql):
        for name in named:
            await leftovers.drop_cluster(name, of_kafka, of_cql)
        return [*named, *await leftovers.drop_dead(of_kafka, of_cql)]


@asynccontextmanager
async def _both(found: Settings) -> AsyncIterator[tuple[KafkaSettings, CqlSettings]]:
    """A broker and a store that answer at first. Raises TargetError when one does not, or stops to."""
    kafka, cql = kafka_settings(found), cql_settings(found)
    try:
        async with asyncio.timeout(_DROP_SECONDS):
            await reach(kafka)
            await (await CqlSession.connect(cql)).close()
            yield kafka, cql
    except (*AWAY, InvariantError, StoreUnavailableError) as error:
        raise TargetError(str(error) or f"broker and store took more than {_DROP_SECONDS:g} s") from error


def _reached(kafka: str, cql: str) -> dict[str, Setting]:
    """Settings of where both are: `kafka` and `cql` as host:port."""
    host, _, port = cql.rpartition(":")
    return {"kafka_servers": kafka, "cql_hosts": host, "cql_port": port}
