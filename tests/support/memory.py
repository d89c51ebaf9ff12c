"""Where fast networks live: in memory, where the machine has such a place."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")


@pytest.fixture
def directory(tmp_path):
    if not _MEMORY.is_dir():
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="headrace-oracle-", dir=_MEMORY))
    yield made
    shutil.rmtree(made)
