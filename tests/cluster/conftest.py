"""Fixtures of the tests that need a broker and a CQL store."""

from __future__ import annotations

from tests.support.memory import directory
from tests.support.stack import cluster_name, cql_address, kafka_servers, own_stack

__all__ = ["cluster_name", "cql_address", "directory", "kafka_servers", "own_stack"]
