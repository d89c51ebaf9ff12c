"""The fixtures that these tests share with others."""

from __future__ import annotations

from tests.support.memory import directory

__all__ = ["directory"]
