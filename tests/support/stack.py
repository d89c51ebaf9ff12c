"""A real broker and a real CQL store for tests: fixtures, and names that no other test uses.

A stack that runs already is named by HEADRACE_TEST_KAFKA and HEADRACE_TEST_CQL (host:port each); it is not stopped.
"""

from __future__ import annotations

import os
import secrets

import pytest


@pytest.fixture(scope="session")
def kafka_servers() -> str:
    """Bootstrap servers of a running broker."""
    found = os.environ.get("HEADRACE_TEST_KAFKA")
    if not found:
        pytest.skip("no broker: set HEADRACE_TEST_KAFKA=host:port")
    return found


@pytest.fixture(scope="session")
def cql_address() -> tuple[str, int]:
    """(host, port) of a running CQL store."""
    found = os.environ.get("HEADRACE_TEST_CQL")
    if not found:
        pytest.skip("no CQL store: set HEADRACE_TEST_CQL=host:port")
    host, _, port = found.rpartition(":")
    return host, int(port)


@pytest.fixture(scope="module")
def cluster_name() -> str:
    """A prefix of topics, groups and keyspaces that is this module's alone."""
    return "t" + secrets.token_hex(5)
