"""What a scrape says of the data directory's volume."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

from headrace.metrics.directory import DirectoryCollector
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
