"""One `headrace up` for what only looks at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.support.network import Network


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Running on free ports; it is not hurt."""
    running = Network(tmp_path_factory.mktemp("ops") / "data", settings={"rate_limit_scale": "1000"})
    try:
        yield running.start()
    finally:
        if running.process is not None and running.process.poll() is None:
            running.stop()
        shutil.rmtree(running.data, ignore_errors=True)
