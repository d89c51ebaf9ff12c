"""Fixtures of the tests that hurt a cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.support.stack import cql_address, kafka_servers, own_stack

__all__ = ["cql_address", "kafka_servers", "own_stack"]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A client whose broker is away says so hundreds of times; here it is away because we killed it."""
    logger = logging.getLogger("aiokafka")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)
