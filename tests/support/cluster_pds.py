"""A PDS of a cluster in this process: real files, real topics, and derive beside it if asked for."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.log import RepoIndex
from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.pds.log import KafkaPdsLog
from ingest.repo.mst import Tree
from schemas.cid import Cid
from schemas.syntax import Did
from tests.support.pds_world import World


@dataclass
class ClusterPds(World):
    """`name` among the PDSes of `kafka`; hands out handles under `.NAME.test`. Real time."""

    kafka: KafkaSettings | None = None
    name: str = "one"

    def __post_init__(self) -> None:
        self.domain = f".{self.name}.test"
        self.settings = {"handle_domains": (self.domain,), **self.settings}

    def clock(self) -> int:
        self.now = time.time_ns() // 1000
        return self.now

    async def open_log(self) -> tuple[Any, RepoIndex | None]:
        assert self.kafka is not None
        log = await KafkaPdsLog.open(
            self.kafka, self.name, self.directory, self.shards, domains=(self.domain,), now=self.clock
        )
        return log, None

    async def records(self, did: Did) -> dict[str, bytes]:
        """The account's records by path, once `records` of the log is shown to make the root of its signed head."""
        head = self.log.head(did)
        found: dict[str, tuple[Cid, bytes]] = {}
        async for page in self.log.values([did]):
            for _, path, cid, value in page:
                if cid is None or value is None:
                    found.pop(path, None)
                else:
                    found[path] = (cid, value)
        tree = Tree.empty()
        for path, (cid, _) in found.items():
            tree.put(path, cid)
        assert tree.write()[0] == head.data, f"{did}: records do not make the root of the signed head"
        return {path: value for path, (_, value) in found.items()}

    async def check_repo(self, did: Did) -> list[str]:  # type: ignore[override]
        """The account's paths in order; log, file and signed head say the same."""
        paths = sorted(await self.records(did))
        head = await self.pds._parts.heads.get(did)
        await self.pds._parts.heads.flush(head)
        assert [path for path, _ in head.file.paths("", 100_000)] == paths
        assert head.root.cid == self.log.head(did).commit
        return paths

    def lose_files(self) -> None:
        """As a lost volume of which accounts.sqlite and the keys were restored from a backup."""
        shutil.rmtree(self.directory / "accounts")
        for path in self.directory.glob("log-heads.sqlite*"):
            Path(path).unlink()
