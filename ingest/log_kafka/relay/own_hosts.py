"""The hosts of this cluster's PDSes, as they entered themselves in the `pds` topic; asked for anew now and then.

A relay reads none of them. Does not own what is refused of their accounts (`ingest.relay.own_accounts`).
"""

from __future__ import annotations

import asyncio

import structlog

from ingest.log import LogAwayError
from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.pds.registry import read_registry
from ingest.log_kafka.reach import AWAY

_SECONDS = 15.0

_log = structlog.get_logger()


class OwnHosts:
    """`await refresh()`, then `run` until cancelled. `names`: host or host:port, in lower case."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self.names: frozenset[str] = frozenset()

    async def refresh(self) -> None:
        """Raises KafkaError, OSError, TimeoutError or LogAwayError."""
        self.names = frozenset((await read_registry(self._settings)).hosts.values())

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_SECONDS)
            try:
                await self.refresh()
            except (*AWAY, LogAwayError) as away:  # who was known still is
                _log.warning("the PDSes of this cluster could not be asked for", cause=repr(away))
