"""A real Prometheus scrapes a real `headrace up` with the shipped rules: a process that dies is noticed.

Durations are divided by SCALE, scrapes and evaluations come every second instead of every 15: what is shown is
that the rules hold on real series and that an alert fires and clears, not how long that takes in production.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import yaml

from tests.ops.test_dashboards import BOARDS, filled, panels, queries
from tests.support.monitoring import rules
from tests.support.network import Network
from tests.support.prometheus import Prometheus, hurried, scraping

SCALE = 30
DOWN = "HeadraceProcessDown"
ABSENT = "HeadraceAbsent"
RULES = {path.name: hurried(text, SCALE) for path, text in rules.files().items()}


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """One `headrace up` that is killed here."""
    running = Network(tmp_path_factory.mktemp("mortal") / "data")
    try:
        yield running.start()
    finally:
        running.kill()
        shutil.rmtree(running.data, ignore_errors=True)


@pytest.fixture(scope="module")
def prometheus(mortal: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has scraped more than once, which rates need, and has evaluated every rule since."""
    folder = tmp_path_factory.mktemp("prometheus")
    with scraping(folder, {"up": mortal.ops_url.partition("://")[2]}, RULES) as running:
        running.until(lambda: running.values("count_over_time(headrace_views_ready[1m]) >= 3") != [], "three scrapes")
        scraped = datetime.now(UTC)
        running.until(lambda: running.evaluated(scraped), "an evaluation of all rules")
        yield running
    shutil.rmtree(folder, ignore_errors=True)


def test_a_hurried_rule_looks_as_much_less_far_back_and_ahead() -> None:
    (disk,) = [text for text in RULES.values() if "HeadraceDiskFills" in text]
    expressions = {
        rule["alert"]: (rule["expr"], rule.get("for")) for rule in yaml.safe_load(disk)["groups"][0]["rules"]
    }

    assert expressions["HeadraceDiskFills"][0].endswith("predict_linear(headrace_data_free_bytes[720000ms], 2880) < 0")
    assert expressions["HeadraceDiskFills"][1] == "20000ms"
    assert expressions["HeadraceCertificateEnds"][0].endswith("< 14 * 86400"), "what is compared with stays"
    assert not any(re.search(r"\[\d+[smhd]\]|predict_linear\([^)]*, 86400\)", text) for text in RULES.values())


def test_every_rule_holds_on_real_series(prometheus: Prometheus) -> None:
    found = prometheus.rules()

    assert len(found) == sum(text.count("- alert:") + text.count("- record:") for text in RULES.values()) > 50
    assert {rule["name"]: rule.get("lastError") for rule in found if rule["health"] != "ok"} == {}
    assert DOWN not in prometheus.firing()


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_every_query_of_a_dashboard_is_answered(name: str, prometheus: Prometheus) -> None:
    for query in queries(BOARDS[name]):
        if "label_values" not in query:
            assert prometheus.ask("query", query=filled(query))["resultType"] == "vector", query


def test_the_river_shows_one_process(prometheus: Prometheus) -> None:
    """What needs requests, writes or a cluster aside, every number of it is there."""
    empty = {
        "Under way",
        "Not yet judged",
        "Durable within",
        "Answered within",
        "Writes that fail",
        "Requests that fail",
    }
    numbers = {
        panel["title"]: filled(panel["targets"][0]["expr"])
        for panel in panels(BOARDS["river"])
        if panel["type"] == "stat" and panel["title"] not in empty
    }

    assert len(numbers) == 12
    prometheus.until(lambda: all(len(prometheus.values(query)) == 1 for query in numbers.values()), "a number each")


def test_a_killed_process_is_noticed_and_so_is_its_return(mortal: Network, prometheus: Prometheus) -> None:
    prometheus.until(lambda: not prometheus.active() & {DOWN, ABSENT}, "quiet at first")
    before = prometheus.firing()

    mortal.kill()
    down = prometheus.until(lambda: DOWN in prometheus.firing(), f"{DOWN} fires")
    absent = down + prometheus.until(lambda: ABSENT in prometheus.firing(), f"{ABSENT} fires")
    fired = prometheus.firing() - before
    roles = {alert["labels"]["headrace_role"] for alert in prometheus.alerts() if alert["labels"]["alertname"] == DOWN}
    begun = time.monotonic()
    mortal.start()
    ready = time.monotonic() - begun
    clear = prometheus.until(lambda: not prometheus.active() & {DOWN, ABSENT}, "both clear")

    print(f"\nwith durations divided by {SCALE}: {DOWN} {down:.1f} s after the kill, {ABSENT} after {absent:.1f} s")
    print(f"ready {ready:.1f} s after the start, both alerts over {clear:.1f} s later")
    assert fired == {DOWN, ABSENT}
    assert roles == {"up"}
