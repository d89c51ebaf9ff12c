"""Alerts as promtool tests them: for each one series that make it fire, and one set that leaves it quiet.

A case looks at one alert alone: that others fire too on so little is no fault. Does not own the rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.support.monitoring.alerts import ALL
from tests.support.monitoring.objectives import OBJECTIVES, Objective

_ASKED = "headrace_xrpc_requests_total"
_TOOK = "headrace_xrpc_request_duration_seconds"
_CREATE = "com.atproto.repo.createRecord"
_LONG = "10m"
_READ = "app.bsky.feed.getTimeline"


class Case(NamedTuple):
    """`severities` are those that fire at `at`, given `series`; one of days every 10 minutes."""

    alert: str
    title: str
    series: dict[str, str]
    at: str
    severities: frozenset[str]
    interval: str = "1m"

    def as_test(self) -> dict[str, Any]:
        """One test of promtool's."""
        expression = f'count by (severity) (ALERTS{{alertname="{self.alert}",alertstate="firing"}} == 1) * 0 + 1'
        expected = [{"labels": f'{{severity="{severity}"}}', "value": 1} for severity in sorted(self.severities)]
        return {
            "name": f"{self.alert}: {self.title}",
            "interval": self.interval,
            "input_series": [{"series": name, "values": values} for name, values in self.series.items()],
            "promql_expr_test": [{"expr": expression, "eval_time": self.at, "exp_samples": expected}],
        }


def cases() -> Iterator[Case]:
    for alert in ALL:
        yield Case(alert.name, "fires", alert.fires, alert.at, frozenset({alert.severity}))
        yield Case(alert.name, "is quiet", alert.quiet, alert.at, frozenset())
    for objective in OBJECTIVES:
        nothing: frozenset[str] = frozenset()
        budget = 1 - objective.target
        # All goes wrong for a short while; a little for days; a little less than the budget for days; once, long ago.
        both, ticket = frozenset({"page", "ticket"}), frozenset({"ticket"})
        yield Case(objective.alert, "a page", _series(objective, 20 * budget, 180), "180m", both)
        yield Case(objective.alert, "a ticket", _days(objective, 1.6 * budget), "4500m", ticket, _LONG)
        yield Case(objective.alert, "is quiet", _days(objective, 0.5 * budget), "4500m", nothing, _LONG)
        yield Case(objective.alert, "is over", _over(objective), "500m", nothing)


def _series(objective: Objective, errors: float, samples: int) -> dict[str, str]:
    """A share of `errors` of all there is, all the time."""
    if objective.name == "freshness":
        return {"headrace_views_freshness_seconds": _now_and_then(errors, samples, 0)}
    bad, good = 6000 * errors, 6000 * (1 - errors)
    if objective.name == "read_latency":
        return {
            f'{_TOOK}_bucket{{nsid="{_READ}",le="0.25"}}': f"0+{good:.3f}x{samples}",
            f'{_TOOK}_count{{nsid="{_READ}"}}': f"0+6000x{samples}",
        }
    return {
        f'{_ASKED}{{nsid="{_CREATE}",status="200"}}': f"0+{good:.3f}x{samples}",
        f'{_ASKED}{{nsid="{_CREATE}",status="503"}}': f"0+{bad:.3f}x{samples}",
        f'{_ASKED}{{nsid="com.example.unknown",status="501"}}': f"0+9000x{samples}",
    }


def _days(objective: Objective, errors: float) -> dict[str, str]:
    if objective.name == "freshness":
        # Three hours before the end, that is in the short window of a ticket and in neither of a page.
        return {"headrace_views_freshness_seconds": _now_and_then(errors, 450, 18)}
    return _series(objective, errors, 450)


def _now_and_then(share: float, samples: int, last: int) -> str:
    """Stale at `last` samples before the end and at as many before it as make the share."""
    every = max(1, round(1 / share))
    return " ".join(
        "60" if sample >= last and (sample - last) % every == 0 else "0" for sample in range(samples, -1, -1)
    )


def _over(objective: Objective) -> dict[str, str]:
    """A bad minute eight hours ago; since then nothing wrong."""
    if objective.name == "freshness":
        return {"headrace_views_freshness_seconds": "0x20 60x1 0x500"}
    if objective.name == "read_latency":
        return {
            f'{_TOOK}_bucket{{nsid="{_READ}",le="0.25"}}': "0+6000x20 126000 132000+6000x500",
            f'{_TOOK}_count{{nsid="{_READ}"}}': "0+6000x20 126030 132030+6000x500",
        }
    return {
        f'{_ASKED}{{nsid="{_CREATE}",status="200"}}': "0+6000x520",
        f'{_ASKED}{{nsid="{_CREATE}",status="503"}}': "0x20 6x500",
    }
