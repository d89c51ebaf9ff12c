"""What a dashboard is made of: panels with queries, in rows. Units are Grafana's (`reqps`, `s`, `short`).

A query names metrics as docs/metrics.md has them; `of_job` narrows each to the jobs that are chosen in the dashboard.
Does not own what is shown (`boards_*.py`) nor the JSON (`dashboards.py`).
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

WINDOW = "[$__rate_interval]"
DAY = "[24h]"
OK, WARNING, BAD = "green", "yellow", "red"
Steps = tuple[tuple[float, str], ...]
ZERO: Steps = ((1e-9, BAD),)  # anything at all is wrong
FRESH: Steps = ((1, WARNING), (5, BAD))  # the objective of freshness, in seconds
QUICK: Steps = ((0.1, WARNING), (0.25, BAD))  # the objective of reads, in seconds
SHARE: Steps = ((0.0005, WARNING), (0.001, BAD))  # the objectives of availability and of durability
LABELS = frozenset({"headrace_role"})  # given by whoever scrapes
_METRIC = re.compile(r"\b((?:headrace|process)_[a-z_]+)\b(\{)?")


class Query(NamedTuple):
    """`legend` is Grafana's: `{{shard}}` stands for a label."""

    expression: str
    legend: str


class Panel(NamedTuple):
    """`width` is of 24. `missing` is what a stat says where no process shows the metric. `top` ends the axis."""

    kind: Literal["stat", "graph"]
    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    steps: Steps = ()
    width: int = 8
    height: int = 8
    missing: str = "not shown by what runs here"
    top: float | None = None


class Board(NamedTuple):
    """`rows` by title, in order; a row without title has no heading. `name` is the file's, and in the address."""

    name: str
    title: str
    description: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]


def stat(title: str, description: str, unit: str, expression: str, steps: Steps = (), **more: object) -> Panel:
    """One number with its course behind it."""
    sized = {"width": 4, "height": 4, **more}
    return Panel("stat", title, description, unit, (Query(expression, title),), steps, **sized)  # type: ignore[arg-type]


def graph(title: str, description: str, unit: str, *queries: tuple[str, str], **more: object) -> Panel:
    """Lines; each of `queries` is an expression and its legend."""
    return Panel("graph", title, description, unit, tuple(Query(*query) for query in queries), **more)  # type: ignore[arg-type]


def of_job(expression: str) -> str:
    """The same of the chosen jobs alone."""

    def narrowed(found: re.Match[str]) -> str:
        name, brace = found.groups()
        if name in LABELS:
            return found[0]
        return f'{name}{{job=~"$job",' if brace else f'{name}{{job=~"$job"}}'

    return _METRIC.sub(narrowed, expression).replace(",}", "}")


def rate(metric: str, by: str = "") -> str:
    """Per second, summed over all but `by`."""
    return f"sum by ({by}) (rate({metric}{WINDOW}))" if by else f"sum(rate({metric}{WINDOW}))"


def rate_or_zero(metric: str, beside: str) -> str:
    """`rate` of a counter by a label, which has no series before the first: 0 where `beside` is shown."""
    return f"{rate(metric)} or 0 * sum({beside})"


def quantile(share: float, histogram: str, by: str = "") -> str:
    """Of a histogram `name` or `name{label="value"}`."""
    name, brace, chosen = histogram.partition("{")
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({name}_bucket{brace}{chosen}{WINDOW})))"


def ratio(part: str, whole: str) -> str:
    """One expression over another; nothing where that one is 0."""
    return f"{part} / ({whole} > 0)"


def share(part: str, whole: str) -> str:
    """What part of all requests is like `part`; nothing without requests."""
    return ratio(f"({rate(part)} or 0 * {rate(whole)})", rate(whole))
