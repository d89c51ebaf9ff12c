"""What the auditor of this process has found, by the same names in every mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class Counting(Protocol):
    """`processors.audit.Auditor`."""

    audited: int
    too_large: int
    divergent: int


class AuditCollector(Collector):
    def __init__(self, auditor: Counting) -> None:
        self._auditor = auditor

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "headrace_audit_accounts_total", "Accounts whose rows were computed anew.", value=self._auditor.audited
        )
        yield CounterMetricFamily(
            "headrace_audit_too_large_accounts_total",
            "Accounts that an audit left out for their size.",
            value=self._auditor.too_large,
        )
        yield CounterMetricFamily(
            "headrace_audit_divergent_rows_total",
            "Rows of the live generation that are not what the log makes; expected zero.",
            value=self._auditor.divergent,
        )
