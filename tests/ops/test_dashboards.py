"""The dashboards are what the code says, Prometheus takes their queries, and every metric they name is scraped."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ops.test_runbooks import METRIC, documented, scraped, unknown
from tests.support.monitoring import dashboards, rules
from tests.support.network import Network
from tests.support.tools import need

BOARDS = {path.stem: json.loads(text) for path, text in dashboards.files().items()}
GRAFANA = {"$__rate_interval": "5m", "$job": ".+"}  # what Grafana puts in
RANGE = re.compile(r"\[(?P<number>\d+)(?P<unit>[smhd])[\]:]")
# Of no panel: an offset says nothing by itself, and virtual memory nothing at all.
NOWHERE = {
    "headrace_derive_place_offset",
    "headrace_firehose_newest_seq",
    "headrace_log_records_end_offset",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Without the headings of rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board: dict[str, Any]) -> list[str]:
    marks = [mark["expr"] for mark in board["annotations"]["list"]]
    asked = [variable["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    return [target["expr"] for panel in panels(board) for target in panel["targets"]] + marks + asked


def filled(query: str) -> str:
    for name, value in GRAFANA.items():
        query = query.replace(name, value)
    return query


def check(folder: Path, expressions: list[str]) -> subprocess.CompletedProcess[str]:
    """What promtool says of them."""
    records = [{"record": f"query:{number}", "expr": expr} for number, expr in enumerate(expressions)]
    (folder / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": records}]}))
    command = [need("promtool"), "check", "rules", folder / "queries.yaml"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_dashboards_are_those_of_the_code() -> None:
    made = dashboards.files()

    assert {path: path.read_text() for path in dashboards.DASHBOARDS.glob("*.json")} == made, "run: make monitoring"
    assert 0 < len(made) <= 8


def test_metrics_that_dashboards_name_are_scraped(network: Network) -> None:
    shown = documented()
    text = "\n".join(query for board in BOARDS.values() for query in queries(board))
    named = set(METRIC.findall(text))

    assert unknown(text, set(shown)) == set()
    # What `headrace up` shows is in its scrape; the rest is in the registries of roles, as docs/metrics.md has it.
    assert {name for name in named if name in shown and re.match(r"up\b|all$", shown[name])} <= scraped(network)
    # And each metric is on some dashboard.
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} - families == NOWHERE


def test_records_that_dashboards_name_are_made_by_the_rules() -> None:
    named = {
        name
        for board in BOARDS.values()
        for query in queries(board)
        for name in re.findall(r"headrace:\S+?(?={)", query)
    }
    groups = [group for path in rules.files() for group in yaml.safe_load(path.read_text())["groups"]]

    assert named
    assert named <= {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def test_prometheus_takes_the_queries(tmp_path: Path) -> None:
    asked = [filled(query) for board in BOARDS.values() for query in queries(board) if "label_values" not in query]
    done = check(tmp_path, asked)

    assert len(asked) > 80
    assert [query for query in asked if "$" in query] == []
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_query_that_is_none_is_noticed(tmp_path: Path) -> None:
    done = check(tmp_path, ["sum by (nsid (rate(headrace_xrpc_requests_total[5m]))"])

    assert done.returncode != 0


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_a_dashboard_can_be_read(name: str) -> None:
    board = BOARDS[name]
    variables = {variable["name"]: variable["type"] for variable in board["templating"]["list"]}

    assert (board["uid"], board["title"][:11], board["tags"]) == (f"headrace-{name}", "Headrace / ", ["headrace"])
    assert board["description"].endswith(".")
    assert variables == {"datasource": "datasource", "job": "query"}
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in panels(board):
        shown = panel["fieldConfig"]["defaults"]
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert shown["unit"], panel["title"]
        assert shown["thresholds"]["steps"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_what_a_dashboard_asks_is_bounded(name: str) -> None:
    board = BOARDS[name]

    assert board["refresh"] == "30s"
    for panel in panels(board):
        assert panel["maxDataPoints"] <= dashboards.POINTS
        assert len(panel["targets"]) <= 4
        for target in panel["targets"]:
            text = target["expr"]
            ranges = [int(found["number"]) * SECONDS[found["unit"]] for found in RANGE.finditer(filled(text))]
            assert all(seconds <= 86400 for seconds in ranges), text
            # A label that others' behaviour gives its values is summed up or cut to so many lines.
            assert not re.search(r"by \([^)]*\b(nsid|rule)\b", text) or text.startswith("topk("), text
            assert METRIC.search(text) is None or 'job=~"$job"' in text, text


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_panels_fill_the_grid_and_do_not_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = {"x": 0, "y": 0, **panel["gridPos"]}
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(0 <= x < 24 for x, _ in cells), panel["title"]
        taken |= cells
    rows = 1 + max(y for _, y in taken)

    assert len(taken) == 24 * rows
    if name == "river":
        assert rows <= 22, "one screen of 1080 lines has room for that many, of 38 each"


def test_the_integrity_board_is_red_at_anything() -> None:
    for panel in panels(BOARDS["integrity"]):
        if panel["type"] == "stat":
            steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            assert [step["color"] for step in steps] == ["green", "red"]
            assert steps[1]["value"] < 1
            assert "Expected: zero." in panel["description"]
