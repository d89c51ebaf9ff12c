"""What a run leaves: result.json, report.html, and one .hgrm a operation (as HdrHistogram's own tools write them)."""

from __future__ import annotations

from pathlib import Path

from hdrh.histogram import HdrHistogram

from headrace.load.messages import LATENESS
from headrace.load.report import report
from headrace.load.result import Result, write


def write_all(result: Result, histograms: dict[str, HdrHistogram], out: Path) -> None:
    """Into a directory that is there."""
    write(result, out / "result.json")
    (out / "report.html").write_text(report(result), encoding="utf-8")
    for name, histogram in histograms.items():
        file = out / f"{'generator-lateness' if name == LATENESS else name}.hgrm"
        with file.open("wb") as opened:
            histogram.output_percentile_distribution(opened, 1000.0)
