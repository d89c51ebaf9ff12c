"""A real broker and a real CQL store for tests: fixtures, and names that no other test uses.

What runs already is named by HEADRACE_TEST_KAFKA and HEADRACE_TEST_CQL (host:port each), and is not stopped. What is
not named is started once a pytest session. A machine that cannot run it skips these tests with one line; in CI that
line is a failure.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.devstack.jars import missing
from tests.support.devstack.stack import Stack

KAFKA, CQL = "HEADRACE_TEST_KAFKA", "HEADRACE_TEST_CQL"
LONG = os.environ.get("HEADRACE_CHAOS") == "long"
# What takes minutes, or nodes of its own that die.
only_long = pytest.mark.skipif(not LONG, reason="long: make chaos")


@dataclass(frozen=True, slots=True)
class Addresses:
    kafka: str
    cql: tuple[str, int]


_ADDRESSES = pytest.StashKey[Addresses]()


def need_a_stack() -> None:
    """Skips the test that calls it when this machine cannot run a stack. In CI it fails instead."""
    lacking = missing()
    if lacking is None:
        return
    line = f"needs {lacking}, or {KAFKA} and {CQL} (host:port each) of a stack that runs"
    if os.environ.get("CI") or os.environ.get("HEADRACE_CI"):
        pytest.fail(f"in CI nothing is skipped: {line}")
    pytest.skip(line)


@pytest.fixture(scope="session")
def kafka_servers(request: pytest.FixtureRequest) -> str:
    """Bootstrap servers of a running broker."""
    return _addresses(request.config).kafka


@pytest.fixture(scope="session")
def cql_address(request: pytest.FixtureRequest) -> tuple[str, int]:
    """(host, port) of a running CQL store."""
    return _addresses(request.config).cql


@pytest.fixture(scope="module")
def cluster_name() -> str:
    """A prefix of topics, groups and keyspaces that is this module's alone."""
    return "t" + secrets.token_hex(5)


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """`own_stack(brokers=1, stores=0)`: a stack of this module's own, whose nodes it may kill and freeze."""
    started: list[Stack] = []

    def start(*, brokers: int = 1, stores: int = 1) -> Stack:
        need_a_stack()
        started.append(Stack(tmp_path_factory.mktemp("own-stack"), brokers=brokers, stores=stores).start())
        return started[-1]

    yield start
    for stack in started:
        stack.stop()


def _addresses(config: pytest.Config) -> Addresses:
    """Where broker and store are: found on the first question of a session, and started together if need be."""
    if (known := config.stash.get(_ADDRESSES, None)) is not None:
        return known
    kafka, cql = os.environ.get(KAFKA), os.environ.get(CQL)
    if not kafka or not cql:
        need_a_stack()
        directory = tempfile.TemporaryDirectory(prefix="headrace-stack-", ignore_cleanup_errors=True)
        config.add_cleanup(directory.cleanup)
        stack = Stack(Path(directory.name), brokers=0 if kafka else 1, stores=0 if cql else 1)
        config.add_cleanup(stack.stop)
        stack.start()
    found = Addresses(kafka or stack.servers, _host_and_port(cql) if cql else (stack.hosts[0], stack.port))
    config.stash[_ADDRESSES] = found
    return found


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.split(",", maxsplit=1)[0].rpartition(":")
    return host, int(port)
