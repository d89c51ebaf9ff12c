"""The alert rules are what the code says, Prometheus takes them, and each fires when it has to and not otherwise."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.monitoring import rules
from tests.support.monitoring.alerts import GROUPS
from tests.support.monitoring.cases import Case, cases
from tests.support.monitoring.objectives import OBJECTIVES
from tests.support.tools import need


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([need("promtool"), *arguments], capture_output=True, text=True, check=False, timeout=280)


def run_cases(folder: Path, chosen: list[Case], file: str) -> subprocess.CompletedProcess[str]:
    """`chosen` have one interval, and their alerts are in one file."""
    whole = {
        "rule_files": [str(rules.RULES / f"{file}.yaml")],
        "evaluation_interval": chosen[0].interval,
        "tests": [case.as_test() for case in chosen],
    }
    (folder / "cases.yaml").write_text(yaml.safe_dump(whole))
    return promtool("test", "rules", folder / "cases.yaml")


def test_the_rules_are_those_of_the_code() -> None:
    made = rules.files()

    assert {path: path.read_text() for path in rules.RULES.glob("*.yaml")} == made, "run: make monitoring"


def test_prometheus_takes_them() -> None:
    done = promtool("check", "rules", *rules.files())

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("SUCCESS") == len(rules.files())


FILES = {alert.name: name for name, group in GROUPS.items() for alert in group}
FILES |= {objective.alert: "objectives" for objective in OBJECTIVES}
PARTS = sorted({(FILES[case.alert], case.interval) for case in cases()})


@pytest.mark.parametrize(("file", "interval"), PARTS)
def test_each_alert_fires_and_is_quiet(file: str, interval: str, tmp_path: Path) -> None:
    chosen = [case for case in cases() if (FILES[case.alert], case.interval) == (file, interval)]
    done = run_cases(tmp_path, chosen, file)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_of_each_kind() -> None:
    alerts = {name for path in rules.files() for name in re.findall(r"alert: (\w+)", path.read_text())}
    firing = {case.alert for case in cases() if case.severities}
    quiet = {case.alert for case in cases() if not case.severities}

    assert len(alerts) > 20
    assert firing == quiet == alerts == set(FILES)


@pytest.mark.parametrize("severities", [frozenset(), frozenset({"page"})], ids=["quiet", "another"])
def test_a_case_that_expects_something_else_fails(severities: frozenset[str], tmp_path: Path) -> None:
    case = next(case for case in cases() if case.alert == "HeadraceGenerationStopped" and case.severities)
    done = run_cases(tmp_path, [case._replace(severities=severities)], "integrity")

    assert done.returncode != 0
    assert "HeadraceGenerationStopped" in done.stdout + done.stderr
