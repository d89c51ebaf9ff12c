"""helm/rules/*.yaml: objectives and alerts as Prometheus reads them.

A page for each alert is in docs/runbooks; its address is an annotation. Does not own what the alerts are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.support.monitoring.alerts import GROUPS, Alert
from tests.support.monitoring.objectives import OBJECTIVES, expression, records

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "helm" / "rules"
_HEAD = "# Written by `make monitoring` from tests/support/monitoring; edit it there.\n"


def runbook(alert: str) -> str:
    """The page of an alert, from the project's root."""
    return f"docs/runbooks/{alert}.md"


def files() -> dict[Path, str]:
    """What is to be in helm/rules."""
    found = {RULES / "objectives.yaml": _objectives()}
    for name, alerts in GROUPS.items():
        group = {"name": f"headrace.{name}", "rules": [_rule(alert) for alert in alerts]}
        found[RULES / f"{name}.yaml"] = _text([group])
    return found


def _objectives() -> str:
    alerts = [
        _alert(
            objective.alert,
            expression(objective, severity),
            severity,
            objective.summary,
            f"{objective.description} The budget for the rest burns too fast.",
        )
        for objective in OBJECTIVES
        for severity in ("page", "ticket")
    ]
    # One group, since only within a group rules are evaluated in order: alerts see the ratios of the same moment.
    return _text([{"name": "headrace.objectives", "rules": [*records(), *alerts]}])


def _rule(alert: Alert) -> dict[str, Any]:
    made = _alert(alert.name, alert.expression, alert.severity, alert.summary, alert.description)
    return {**made, "for": alert.wait} if alert.wait != "0m" else made


def _alert(name: str, expr: str, severity: str, summary: str, description: str) -> dict[str, Any]:
    annotations = {"summary": summary, "description": description, "runbook": runbook(name)}
    return {"alert": name, "expr": expr, "labels": {"severity": severity}, "annotations": annotations}


def _text(groups: list[dict[str, Any]]) -> str:
    return _HEAD + yaml.safe_dump({"groups": groups}, sort_keys=False, width=110, allow_unicode=True)
