"""The fixtures that these tests share with others, and what makes small networks take the ways of big ones."""

from __future__ import annotations

import pytest

from api.appview import own
from tests.support.memory import directory

__all__ = ["directory"]


@pytest.fixture(autouse=True, scope="session")
def few_are_read_whole():
    """Some have set more than is read of a viewer at once, and are asked for by key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own, "WHOLE_MOST", 3)
        yield
