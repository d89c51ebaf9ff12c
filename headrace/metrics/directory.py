"""How much room is left where the data directory lies. Does not own what fills it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class DirectoryCollector(Collector):
    """Bytes of the volume, whoever fills it. A directory that is gone has no samples."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("headrace_data_free_bytes", "Bytes left on the volume of the data directory.")
        size = GaugeMetricFamily("headrace_data_size_bytes", "Bytes of the volume of the data directory.")
        try:
            found = shutil.disk_usage(self._directory)
        except OSError:  # a scrape tells the rest all the same
            yield from (free, size)
            return
        free.add_metric([], found.free)
        size.add_metric([], found.total)
        yield from (free, size)
