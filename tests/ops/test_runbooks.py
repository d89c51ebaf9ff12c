"""Every alert has a page, every command in a page exists, and every metric that is named is one that is scraped."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request

import yaml

from tests.support.monitoring import rules
from tests.support.network import Network

PAGES = rules.ROOT / "docs" / "runbooks"
SECTIONS = ("**Meaning.**", "**Impact.**", "## Diagnosis", "## Mitigation")
METRIC = re.compile(r"\b(?:headrace|process)_[a-z_]+\b")
LABELS_AND_ROLES = {"headrace_role"}  # given by whoever scrapes


def alerts() -> dict[str, dict[str, str]]:
    """Annotations by name."""
    groups = [group for path in rules.files() for group in yaml.safe_load(path.read_text())["groups"]]
    return {rule["alert"]: rule["annotations"] for group in groups for rule in group["rules"] if "alert" in rule}


def expressions() -> str:
    groups = [group for path in rules.files() for group in yaml.safe_load(path.read_text())["groups"]]
    return "\n".join(rule["expr"] for group in groups for rule in group["rules"])


def documented() -> dict[str, str]:
    """By name, who shows a metric; tests/unit/test_docs.py holds the page equal to the code."""
    page = (rules.ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]+) \|", page, re.MULTILINE)
    found = {name: where.strip() for name, _, where in rows}
    for name, kind, where in rows:
        if kind == "histogram":
            found |= dict.fromkeys((f"{name}_bucket", f"{name}_sum", f"{name}_count"), where.strip())
    return found


def scraped(network: Network) -> set[str]:
    with urllib.request.urlopen(f"{network.ops_url}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    parts = {
        f"{name}_{part}" for name, kind in kinds.items() if kind == "histogram" for part in ("bucket", "sum", "count")
    }
    return set(kinds) | parts


def unknown(text: str, known: set[str]) -> set[str]:
    return set(METRIC.findall(text)) - known - LABELS_AND_ROLES


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    found = alerts()

    assert {name: annotations["runbook"] for name, annotations in found.items()} == {
        name: f"docs/runbooks/{name}.md" for name in found
    }
    assert {page.stem for page in PAGES.glob("*.md")} == {*found, "README"}
    for name in found:
        text = (PAGES / f"{name}.md").read_text()
        assert [section for section in SECTIONS if section not in text] == [], name
        assert f"[{name}]({name}.md)" in (PAGES / "README.md").read_text()


def test_every_command_in_a_page_exists() -> None:
    text = "\n".join(page.read_text() for page in PAGES.glob("*.md"))
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    spans = re.findall(r"`(headrace [^`]+)`", text)
    named = {line for line in (*lines, *spans) if line.startswith("headrace ")}
    commands = {tuple(re.findall(r"[a-z][a-z-]+(?= |$)", line.partition(" --")[0])[1:]) for line in named}

    assert {("views", "diff"), ("status",), ("log", "skip")} <= {command[:2] for command in commands}
    for command in sorted({_of_the_program(command) for command in commands}):
        shown = subprocess.run(
            [sys.executable, "-m", "headrace", *command, "--help"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert shown.returncode == 0, (command, shown.stderr)
        assert shown.stdout.startswith(f"Usage: headrace {' '.join(command)} "), command


def _of_the_program(words: tuple[str, ...]) -> tuple[str, ...]:
    groups = ("views", "log", "topics", "schema", "ingest")
    return words[:2] if words[0] in groups else words[:1]


def test_metrics_that_rules_and_pages_name_are_scraped(network: Network) -> None:
    shown = documented()
    here = scraped(network)
    pages = "\n".join(page.read_text() for page in PAGES.glob("*.md"))
    named = set(METRIC.findall(expressions() + pages))

    assert len(named) > 30
    assert unknown(expressions() + pages, set(shown)) == set()
    # What `headrace up` shows is in its scrape; the rest is in the registries of roles, as docs/metrics.md has it.
    assert {name for name in named if name in shown and re.match(r"up\b|all$", shown[name])} <= here


def test_a_metric_that_is_none_is_noticed() -> None:
    assert unknown("sum(headrace_no_such_total)", set(documented())) == {"headrace_no_such_total"}
