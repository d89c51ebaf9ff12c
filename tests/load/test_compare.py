"""Two results beside each other, on a terminal and in a browser; and what criteria make of one."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import orjson
import pytest

from headrace.load.compare import differences, html, rows
from headrace.load.criteria import measured, slope
from headrace.load.measures import MEASURES, OF_RUN
from headrace.load.plan import Criterion
from headrace.load.result import Event, write
from tests.support.browser import look
from tests.support.load_results import PLAN, result


def test_what_became_slower_is_worse_and_what_stayed_is_nothing() -> None:
    found = {row.measure: row for row in rows(result(), result(slower=2.0))}

    assert found["p99_ms.getTimeline"].judgement == "worse"
    assert found["p99_ms.getTimeline"].change == pytest.approx(1.0, abs=0.01)
    assert (found["rate.getTimeline"].change, found["rate.getTimeline"].judgement) == (0.0, "")
    back = {row.measure: row.judgement for row in rows(result(slower=2.0), result())}
    assert back["p50_ms.createRecord"] == "better"


def test_runs_that_are_hard_to_compare_say_why() -> None:
    other = msgspec.structs.replace(
        result(), plan=msgspec.structs.replace(PLAN, seed=8), machine={"processor": "a processor", "cores": "64"}
    )

    assert differences(result(), result()) == []
    assert differences(result(), other) == [
        "the plans differ in seed",
        "the machines differ in cores: 2 and 64",
        "the machines differ in memory: 8.0 GB and None",
    ]


def test_the_page_shows_both(tmp_path) -> None:
    path = tmp_path / "compare.html"
    path.write_text(html(result(), result(slower=3.0)), encoding="utf-8")

    seen = look(path, width=380)

    assert "+200.0%" in seen.text
    assert "worse" in seen.text
    assert len(seen.plots) == 4
    assert all(len(plot["paths"]) == 2 for plot in seen.plots)
    assert seen.scrolls <= 380


def test_the_command_compares_files(tmp_path) -> None:
    write(result(), tmp_path / "a.json")
    write(result(slower=2.0), tmp_path / "b.json")

    shown = headrace("load", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    said = headrace("load", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--json")
    refused = headrace("load", "compare", str(tmp_path / "a.json"), str(tmp_path / "absent"))

    assert shown.returncode == 0
    assert "p99_ms.getTimeline" in shown.stdout
    assert "worse" in shown.stdout
    assert "\x1b" not in shown.stdout
    measures = {each["measure"]: each for each in orjson.loads(said.stdout)["measures"]}
    assert measures["p50_ms.getTimeline"]["judgement"] == "worse"
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "absent" in refused.stderr


def test_every_measure_can_be_asked_of_a_result() -> None:
    whole = result()
    found = {measure: measured(measure, whole) for measure in MEASURES}

    of_timelines = {name: value for name, value in found.items() if name.endswith(".getTimeline")}
    assert all(value is not None for value in of_timelines.values())
    assert all(found[measure] is not None for measure in OF_RUN)
    assert found["p99_ms.getPosts"] is None
    assert found["freshness_seconds"] == pytest.approx(0.6)
    assert found["memory_slope_mb_per_hour"] == pytest.approx(360.0)
    assert found["unplanned_deaths"] == 0
    assert found["errors"] == pytest.approx(2 * 4 * 83 / (2 * 51 * 80 + 2 * 4 * 83))


def test_what_was_not_measured_fails_its_criterion() -> None:
    plan = msgspec.structs.replace(PLAN, criteria=[Criterion("p99_ms.getPosts", at_most=1e9)])

    (first, *others) = result(plan=plan).verdicts

    assert (first.found, first.passed) == (None, False)
    assert all(each.passed for each in others)


def test_a_target_that_died_by_itself_fails_every_plan() -> None:
    from headrace.load.criteria import verdicts

    died = msgspec.structs.replace(result(), events=[Event(3.0, "target ended by itself", planned=False)])

    assert [each.measure for each in verdicts(died) if not each.passed] == ["unplanned_deaths"]


def test_a_slope_is_least_squares() -> None:
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2.0)
    assert slope([(0, 1), (1, 3)]) is None
    assert slope([(1, 1), (1, 2), (1, 3)]) is None


def headrace(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "headrace", *words], capture_output=True, text=True, check=False)
