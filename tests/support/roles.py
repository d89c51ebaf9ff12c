"""A cluster's roles in subprocesses: free ports, directories of their own, ended by pid, gone when the parent dies.

Does not own the broker and the store (`tests/support/stack.py`) nor what is asked of the roles.
"""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import orjson

from ingest.log_kafka.client import KafkaSettings
from tests.support.kafka_log import drop_topics
from tests.support.network import _die_with_parent
from views.cql.session import CqlSession
from views.cql.settings import CqlSettings

READY_SECONDS = 120.0  # several start at once, on two cores


@dataclass
class Role:
    """One process. `addresses` are what it printed: xrpc, plc, ops. Where it listened it listens again."""

    name: str
    directory: Path
    settings: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    module: str = "headrace"
    patience: float = READY_SECONDS

    @property
    def log(self) -> Path:
        return self.directory.with_name(self.directory.name + ".log")

    @property
    def pid(self) -> int:
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def url(self) -> str:
        return self.addresses["xrpc"]

    @property
    def ops(self) -> str:
        return self.addresses["ops"]

    def begin(self) -> Self:
        """Start it; `await_ready` says when it serves."""
        arguments = [sys.executable, "-m", self.module, self.name, "--json"]
        ports = {"port": "xrpc", "plc_port": "plc", "ops_port": "ops"}
        settings = {
            name: self.addresses.get(listener, "").rpartition(":")[2] or "0" for name, listener in ports.items()
        }
        for name, value in {**settings, "data": str(self.directory), **self.settings}.items():
            arguments += ["--set", f"{name}={value}"]
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                arguments,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self.environment},
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - nothing is locked by a test's threads at this point
            )
        return self

    def await_ready(self) -> Self:
        """AssertionError with its log when it ends or stays silent."""
        found = orjson.loads(self._line())
        assert found.pop("role") == self.name
        self.addresses = found
        assert self._line() == b"ready"
        return self

    def start(self) -> Self:
        return self.begin().await_ready()

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM; the exit code. One that does not end in time is killed and the test fails."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.wait(timeout)

    def wait(self, timeout: float = 60.0) -> int:
        """The exit code of a process that ends by itself, or was told to."""
        assert self.process is not None
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {timeout} s:\n{self.tail()}") from None
        self._close()
        return code

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._close()

    def tail(self) -> str:
        return self.log.read_text()[-4000:]

    def _line(self) -> bytes:
        assert self.process is not None
        assert self.process.stdout is not None
        until = time.monotonic() + self.patience
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 1) if readable else b""
            if not piece:
                self.kill()
                raise AssertionError(f"headrace {self.name} did not get ready:\n{self.tail()}")
            line += piece
        return line.strip()

    def _close(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()


class RolesCluster:
    """One process of each role over a broker and a store that run; `roles` are by name, each added when it starts."""

    def __init__(self, directory: Path, servers: str, cql: tuple[str, int], name: str, **settings: str) -> None:
        self.directory = directory
        self.settings = {
            "cluster": name,
            "cql_keyspace": name,
            "kafka_servers": servers,
            "cql_hosts": cql[0],
            "cql_port": str(cql[1]),
            "shards": "2",
            "allow_private_addresses": "true",
            "rate_limits": "false",
            **settings,
        }
        self.roles: dict[str, Role] = {}
        self.module = "headrace"
        self.patience = READY_SECONDS

    def role(self, name: str, label: str = "", **more: str) -> Role:
        """A role that is to be started; `label` keeps several of one kind apart."""
        settings = {**self.settings, **more}
        directory = self.directory / (name + label)
        made = Role(name, directory, settings, module=self.module, patience=self.patience)
        self.roles[name + label] = made
        return made

    def start(self) -> Self:
        """All of them: what others ask first, what asks them next."""
        plc, derive, process = (self.role(name).begin() for name in ("plc", "derive", "process"))
        with ThreadPoolExecutor() as pool:
            list(pool.map(Role.await_ready, (plc, derive, process)))
        appview = self.role("appview", plc_url=plc.addresses["plc"]).begin()
        firehose = self.role("firehose").begin()
        appview.await_ready()
        self.role("pds", plc_url=plc.addresses["plc"], appview_url=appview.url).start()
        firehose.await_ready()
        return self

    def __getitem__(self, name: str) -> Role:
        return self.roles[name]

    def stop(self) -> dict[str, int]:
        """Exit codes; in the reverse order, all at once."""
        running = [role for role in self.roles.values() if role.process is not None and role.process.poll() is None]
        for role in running:
            assert role.process is not None
            role.process.terminate()
        return {role.name: role.wait(30.0) for role in running}

    def kill(self) -> None:
        for role in self.roles.values():
            role.kill()

    def drop(self) -> None:
        """Topics and keyspaces of the cluster."""
        asyncio.run(self._drop())

    async def _drop(self) -> None:
        name = self.settings["cluster"]
        await drop_topics(KafkaSettings(servers=self.settings["kafka_servers"], cluster=name))
        cql = CqlSettings(
            hosts=(self.settings["cql_hosts"],),
            port=int(self.settings["cql_port"]),
            keyspace=self.settings["cql_keyspace"],
        )
        session = await CqlSession.connect(cql)
        try:
            for row in await session.admin("SELECT keyspace_name FROM system_schema.keyspaces"):
                if row[0] == cql.keyspace or row[0].startswith(f"{cql.keyspace}_"):
                    await session.admin(f"DROP KEYSPACE {row[0]}")
        finally:
            await session.close()
