"""Brokers and stores of one data directory, started and ended together.

The directory keeps the ports: a stack that is started again has the addresses it had. One process at a time has it.
"""

from __future__ import annotations

import fcntl
import json
import random
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.support.devstack.cassandra import Store, store
from tests.support.devstack.jars import StackUnavailableError, missing
from tests.support.devstack.kafka import Broker, broker
from tests.support.devstack.node import Node

# Below the range from which the kernel takes ports for outgoing connections: a port must still be free when a killed
# node comes back.
PORTS = range(20_000, 30_000)


class StackInUseError(Exception):
    """Another process has this directory."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Who listens where."""

    brokers: tuple[Broker, ...]
    stores: tuple[Store, ...]


class Stack:
    """`with Stack(directory) as stack:` has a broker and a store that answer; afterwards they are gone, the data stays.

    `kafka` and `cql` are the nodes; `servers` and `hosts`/`port` are what clients want. `brokers=0` or `stores=0`
    leaves that part out.
    """

    def __init__(
        self,
        data: Path,
        *,
        brokers: int = 1,
        stores: int = 1,
        kafka_port: int | None = None,
        cql_port: int | None = None,
    ) -> None:
        self.data = data.resolve()
        self._asked = (brokers, stores, kafka_port, cql_port)
        self._lock: IO[str] | None = None
        self.kafka: tuple[Node, ...] = ()
        self.cql: tuple[Node, ...] = ()

    def start(self) -> Self:
        if (lacking := missing()) is not None:
            raise StackUnavailableError(f"the stack needs {lacking}")
        self.data.mkdir(parents=True, exist_ok=True)
        self._lock = lock(self.data)
        try:
            self.plan = _planned(self.data, *self._asked)
            with ThreadPoolExecutor(8) as pool:
                brokers = pool.map(lambda n: broker(self.plan.brokers, n, self.data), range(len(self.plan.brokers)))
                self.cql = tuple(store(self.plan.stores, n, self.data) for n in range(len(self.plan.stores)))
                if self.cql:
                    self.cql[0].start(wait=False)
                self.kafka = tuple(brokers)
                for node in self.kafka:
                    node.start(wait=False)
                # The first store is the seed: the others join one after the other.
                for node in self.cql[1:]:
                    self.cql[self.cql.index(node) - 1].wait_ready()
                    node.start(wait=False)
                list(pool.map(Node.wait_ready, (*self.kafka, *self.cql)))
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends every node that runs."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(Node.stop, (*self.kafka, *self.cql)))
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def servers(self) -> str:
        """Bootstrap servers."""
        return ",".join(f"127.0.0.1:{each.port}" for each in self.plan.brokers)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Contact points; every store listens on `port`."""
        return tuple(each.address for each in self.plan.stores)

    @property
    def port(self) -> int:
        return self.plan.stores[0].port

    @property
    def replication(self) -> int:
        return max(1, min(3, len(self.plan.brokers), len(self.plan.stores)))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()


def lock(data: Path) -> IO[str]:
    """Held while a stack runs in this directory; the kernel gives it back when its holder dies."""
    file = (data / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise StackInUseError(f"a stack runs in {data} already: stop it, or name another directory") from error
    return file


def wipe(data: Path) -> None:
    """Removes a directory that a stack has made, unless one runs there."""
    if not data.exists():
        return
    if not (data / "stack.json").exists():
        raise StackUnavailableError(f"{data} was not made by a stack (it has no stack.json): remove it by hand")
    with lock(data):
        shutil.rmtree(data)


def _planned(data: Path, brokers: int, stores: int, kafka_port: int | None, cql_port: int | None) -> Plan:
    """What the directory says; when it says nothing, free ports, written down."""
    kept = data / "stack.json"
    if kept.exists():
        found = json.loads(kept.read_text())
        plan = Plan(
            tuple(Broker(**each) for each in found["brokers"]), tuple(Store(**each) for each in found["stores"])
        )
        if (len(plan.brokers), len(plan.stores)) != (brokers, stores):
            raise StackUnavailableError(
                f"{data} holds {len(plan.brokers)} brokers and {len(plan.stores)} stores, asked for {brokers} and "
                f"{stores}: wipe it, or name another directory"
            )
        return plan
    taken: set[int] = set()
    made = Plan(
        tuple(Broker(n + 1, kafka_port + n if kafka_port else _free(taken), _free(taken)) for n in range(brokers)),
        _stores(stores, cql_port or _free(taken), _free(taken)),
    )
    kept.write_text(json.dumps(asdict(made)))
    return made


def _stores(number: int, port: int, storage_port: int) -> tuple[Store, ...]:
    return tuple(Store(n + 1, f"127.0.0.{n + 1}", port, storage_port) for n in range(number))


def _free(taken: set[int]) -> int:
    """A port nobody listens on. Random, so that two stacks which start at once rarely choose the same."""
    for port in random.SystemRandom().sample(PORTS, 200):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if port not in taken and trial.connect_ex(("127.0.0.1", port)) != 0:
                taken.add(port)
                return port
    raise StackUnavailableError(f"no free port among 200 of {PORTS}")
