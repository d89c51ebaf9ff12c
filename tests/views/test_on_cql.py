"""The tests that a cluster's store is held to are there."""

from __future__ import annotations

import re
from pathlib import Path

from .conftest import ON_CQL


def test_every_test_that_runs_on_cql_exists():
    written = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))

    assert set(re.findall(r"^async def (\w+)\([^)]*\bworld\b", written, re.MULTILINE)) >= ON_CQL
