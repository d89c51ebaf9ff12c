"""What a scrape says of the data directory's volume."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from headrace.metrics.directory import DirectoryCollector
from headrace.metrics.process import RiverCollector
from headrace.river import Standing
from tests.support.network import Network


def test_a_scrape_tells_how_much_room_is_left(network: Network) -> None:
    with urllib.request.urlopen(f"{network.ops_url}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    free, size = (
        float(re.findall(rf"^headrace_data_{name}_bytes (\S+)$", text, re.MULTILINE)[0]) for name in ("free", "size")
    )

    assert 0 < free <= size


def test_a_directory_that_is_gone_leaves_the_rest_of_a_scrape(tmp_path: Path) -> None:
    gone = DirectoryCollector(tmp_path / "gone")

    assert [(family.name, family.samples) for family in gone.collect()] == [
        ("headrace_data_free_bytes", []),
        ("headrace_data_size_bytes", []),
    ]


def test_a_scrape_tells_how_long_writes_took_to_show(network: Network) -> None:
    with urllib.request.urlopen(f"{network.ops_url}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    name = "headrace_write_to_visible_seconds"
    buckets = [float(found) for found in re.findall(rf"^{name}_bucket\{{\S+ (\S+)$", text, re.MULTILINE)]

    assert len(buckets) == 13
    assert buckets == sorted(buckets)
    assert f"{name}_count {buckets[-1]}" in text


@dataclass
class Look:
    """What a processor has seen last, and when."""

    last: Standing
    unseen: float


def told(look: Look) -> dict[str, float]:
    """By metric, what a scrape says of it."""
    return {
        sample.name: sample.value
        for family in RiverCollector(look).collect()
        for sample in family.samples
        if not sample.labels
    }


@pytest.mark.parametrize(("unseen", "late"), [(4.0, 0.0), (15.0, 0.0), (40.0, 40.0)])
def test_what_cannot_be_seen_counts_as_late(unseen: float, late: float) -> None:
    """A store that stalls answers no look: the newest one said that nothing waits, and would go on saying so."""
    found = told(Look(Standing({}, (7, 9), 0, (0.0, 0.0)), unseen))

    assert found["headrace_views_freshness_seconds"] == late
    assert found["headrace_river_unseen_seconds"] == unseen
    assert found["headrace_views_behind_entries"] == 0


def test_what_was_late_already_is_later_by_what_cannot_be_seen() -> None:
    found = told(Look(Standing({("records", 0): 5}, (7, 9), 5, (2.5, 0.0)), 40.0))

    assert found["headrace_views_freshness_seconds"] == 42.5
