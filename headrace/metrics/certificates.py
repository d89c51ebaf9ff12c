"""When the certificates that this process connects with end: those it has loaded, as they were when it started.

Does not own how they are read (`headrace/certificates.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headrace.certificates import Certificate


class CertificatesCollector(Collector):
    """Labels are settings: three. A file that is replaced counts from the next start, as it does for connections."""

    def __init__(self, certificates: Iterable[Certificate] = ()) -> None:
        self._certificates = tuple(certificates)

    def collect(self) -> Iterator[Metric]:
        ends = GaugeMetricFamily(
            "headrace_certificate_expiry_timestamp_seconds",
            "When a certificate that this process connects with ends, as it was loaded at the start; seconds since"
            " 1970. The first end in a chain of ours, the last of several authorities.",
            labels=["setting"],
        )
        for each in self._certificates:
            ends.add_metric([each.setting], each.ends.timestamp())
        yield ends
