"""Fixtures that every layer's tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis  # noqa: F401 - else its plugin loads it at the end of a run, which a long one did not survive
import pytest

from ingest.repo import core

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """A shell that runs this in the background has SIGINT ignored, and every process that a test ends with it too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def vectors_root() -> Path:
    """Where the test vectors lie: HEADRACE_VECTORS, or ../shared/vectors from the project's root."""
    return Path(os.environ.get("HEADRACE_VECTORS", ROOT.parent / "shared" / "vectors"))


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Path]:
    """`vectors("folder/file")` is a path inside the vectors, or a skip with a line that says so."""

    def find(relative: str) -> Path:
        path = vectors_root() / relative
        if not path.exists():
            pytest.skip(f"test vectors absent: {path} (set HEADRACE_VECTORS)")
        return path

    return find


@pytest.fixture(scope="module", params=["compiled", "python"])
def each_core(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs on the compiled core, and on its twin in Python alone."""
    on = request.param == "compiled"
    if core.switch(on=on) != on:
        pytest.skip("no compiled core: there was no C compiler at set-up")
    yield request.param
    core.switch(on=True)
