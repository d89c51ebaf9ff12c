"""Renders of the chart, each made once a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from tests.support import chart
from tests.support.tools import need

Render = Callable[..., str]


@pytest.fixture(scope="session")
def render() -> Render:
    """`render(case, version=...)` is what Helm prints for a file of helm/ci."""
    need("helm")

    @cache
    def rendered(case: str, version: str = chart.VERSIONS[-1]) -> str:
        return chart.template(*chart.arguments_of(case), version=version)

    return rendered


@pytest.fixture(params=chart.CASES)
def found(request: pytest.FixtureRequest, render: Render) -> list[chart.Object]:
    """The objects of each file of helm/ci in turn."""
    return chart.objects(render(request.param))
