"""A cluster that a run starts: one process of each role, over a broker and a CQL store that are there.

Its topics and keyspaces have a name of the run's own, and go when it ends. Does not own the broker and the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from headrace import settings as every_setting
from headrace.load import leftovers
from headrace.load.plan import Target
from headrace.load.started import Setting, Started, TargetError
from headrace.settings import Settings, SettingsError
from headrace.wiring.cluster import kafka_settings
from headrace.wiring.store import cql_settings

ROLES = ("plc", "derive", "process", "appview", "firehose", "pds")
RELAY = "relay"  # where other hosts are read
READY_SECONDS = 300.0  # six processes at once, and the first makes topics and tables


class OwnCluster:
    """`roles` are the processes by name, in the order in which they are started."""

    MAIN: Final = "pds"

    def __init__(self, target: Target, folder: Path, settings: Mapping[str, Setting]) -> None:
        """Raises TargetError when its settings are wrong."""
        name = leftovers.new_cluster()
        self._folder = folder
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
        """What others ask first, what asks them next. Raises TargetError."""
        is_given = "plc_url" in self._settings
        own = [] if is_given else [self._role("plc")]
        await self._start(*own, self._role("derive"), self._role("process"))
        plc = {} if is_given else {"plc_url": self.roles["plc"].addresses["plc"]}
        others = [self._role(RELAY, relay_port=0, **plc)] if self._reads_others else []
        await self._start(self._role("appview", **plc), self._role("firehose"), *others)
        await self._start(self._role("pds", **plc, appview_url=self.roles["appview"].addresses["xrpc"]))

    async def drop(self) -> list[str]:
        """Take away what it made in the broker and the store, and what killed runs did; the names of theirs."""
        kafka, cql = kafka_settings(self._found), cql_settings(self._found)
        await leftovers.drop_cluster(kafka.cluster, kafka, cql)
        return await leftovers.drop_dead(kafka, cql)

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

    Raises TargetError (settings that are wrong), ValueError (a name that no run chose).
    """
    try:
        found = every_setting.load(_reached(kafka, cql))
    except SettingsError as error:
        raise TargetError(str(error)) from None
    of_kafka, of_cql = kafka_settings(found), cql_settings(found)
    for name in named:
        await leftovers.drop_cluster(name, of_kafka, of_cql)
    return [*named, *await leftovers.drop_dead(of_kafka, of_cql)]


def _reached(kafka: str, cql: str) -> dict[str, Setting]:
    """Settings of where both are: `kafka` and `cql` as host:port."""
    host, _, port = cql.rpartition(":")
    return {"kafka_servers": kafka, "cql_hosts": host, "cql_port": port}
