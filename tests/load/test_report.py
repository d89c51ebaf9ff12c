"""Reports: one file that needs nothing else, seen in a browser as a person sees it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from headrace.load.output import write_all
from headrace.load.plot import linear, logarithmic, number, percentiles, thinned
from headrace.load.report import report
from headrace.load.result import ResultError, read, write
from tests.support.browser import look
from tests.support.load_results import PLAN, result

SECTIONS = (
    *("Load report: by-hand", "Criteria", "What happened", "Operations", "Rates", "Latency", "Lag and freshness"),
    *("Errors by kind", "Processes", "Were the answers right?", "The generator's own error", "Machine, versions, plan"),
)
PLOTS = 10


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report(result()), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (380, True)], ids=["desk", "phone at night"])
def test_a_person_sees_everything_at_a_desk_and_on_a_phone(page, width, dark) -> None:
    seen = look(page, width=width, dark=dark)

    assert seen.width == width
    assert [words for words in SECTIONS if words not in seen.text] == []
    assert "PASSED" in seen.text
    assert "<b>a quiet minute & a fault</b>" in seen.text  # as words, not as HTML
    assert seen.scrolls <= width  # nothing sticks out to the side
    assert seen.outside == []
    assert len(seen.plots) == PLOTS
    for plot in seen.plots:
        left, top, wide, high = plot["box"]
        assert wide > 0.8 * min(width, 900)
        assert high > 80
        assert plot["label"]
        assert plot["paths"]
        for x, y, path_wide, path_high in (*plot["paths"], *plot["texts"]):
            assert left - 1 <= x
            assert x + path_wide <= left + wide + 1
            assert top - 1 <= y
            assert y + path_high <= top + high + 1
        errors = plot["label"].startswith("Errors")  # for four seconds of sixty
        assert any(each[2] > wide / (40 if errors else 3) for each in plot["paths"])  # a line, not a dot


def test_night_and_day_differ_and_both_can_be_read(page) -> None:
    day, night = look(page), look(page, dark=True)

    for bright, dark in ((day.paper, day.ink), (night.ink, night.paper)):
        assert brightness(bright) > 0.8
        assert brightness(dark) < 0.2


def test_a_failed_run_says_which_criterion(tmp_path) -> None:
    strict = msgspec.structs.replace(PLAN, criteria=[msgspec.structs.replace(PLAN.criteria[0], at_most=1.0)])
    path = tmp_path / "report.html"
    path.write_text(report(result(plan=strict)), encoding="utf-8")

    seen = look(path)

    assert "FAILED" in seen.text
    assert re.search(r"p99_ms\.getTimeline\s+at most 1\s+[\d.]+\s+FAIL", seen.text), seen.text[:1000]


def test_every_plot_has_its_numbers_as_a_table(page) -> None:
    text = page.read_text()

    assert text.count("<svg") == text.count("<summary>The numbers") == PLOTS
    assert len(re.findall(r"<details>.*?<table>", text)) >= PLOTS


def test_the_file_names_nothing_outside_and_is_the_same_each_time(page) -> None:
    text = page.read_text()

    assert not re.search(r"(?:src|href)\s*=|url\(|@import|<link|<script", text)
    assert text == report(result())


def test_a_run_leaves_a_result_that_can_be_read_again_and_histograms(tmp_path) -> None:
    from hdrh.histogram import HdrHistogram

    histogram = HdrHistogram(1, 1_000_000, 3)
    histogram.record_value(5_000)

    write_all(result(), {"getTimeline": histogram}, tmp_path)

    assert read(tmp_path) == read(tmp_path / "result.json") == result()
    assert (tmp_path / "report.html").read_text() == report(result())
    lines = (tmp_path / "getTimeline.hgrm").read_text()
    assert re.search(r"Value\s+Percentile\s+TotalCount", lines)
    assert "5.0" in lines  # milliseconds


@pytest.mark.parametrize("text", ["", "{}", "[1]", "{"])
def test_what_is_no_result_is_refused(tmp_path, text) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)

    with pytest.raises(ResultError, match=r"result\.json"):
        read(path)
    with pytest.raises(ResultError):
        read(tmp_path / "absent")


def test_another_version_of_results_is_refused(tmp_path) -> None:
    write(msgspec.structs.replace(result(), version=99), tmp_path / "r")

    with pytest.raises(ResultError, match="99"):
        read(tmp_path / "r")


def test_axes_have_ticks_that_can_be_read() -> None:
    assert [words for _, words in linear(0, 60).ticks] == ["0", "20", "40", "60"]
    assert [words for _, words in logarithmic(0.4, 1500).ticks] == ["0.1", "1", "10", "100", "1 k", "10 k"]
    assert [words for _, words in percentiles(99.95).ticks] == ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]
    assert [number(value) for value in (0, 0.01234, 12.3456, 999, 1234, 5e6)] == [
        *("0", "0.0123", "12.3", "999", "1.23 k", "5 M")
    ]


def test_a_peak_survives_thinning() -> None:
    points = [(float(n), 1.0) for n in range(5_000)]
    points[3_333] = (3_333.0, 99.0)

    found = thinned(points)

    assert len(found) <= 400
    assert (3_333.0, 99.0) in found


def brightness(colour: str) -> float:
    red, green, blue = (int(each) / 255 for each in re.findall(r"\d+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
