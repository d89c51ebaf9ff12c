"""A whole network for each test that asks for one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.network import Network


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """`headrace up` on free ports with a directory of its own; rate limits raised, since tests share an address."""
    running = Network(tmp_path / "data", settings={"rate_limit_scale": "1000"})
    try:
        yield running.start()
    finally:
        if running.process is not None and running.process.poll() is None:
            running.stop()
        shutil.rmtree(running.data, ignore_errors=True)
