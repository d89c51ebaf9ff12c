"""What became of an ingested file, counted: the summary that `headrace ingest` prints. Bounded, whatever comes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from schemas.errors import Refused

_EXAMPLES = 20


class Outcomes:
    """`unit` names what is counted: frames, records."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.accepted = 0
        self.ignored = 0
        self.reasons: Counter[str] = Counter()
        self.examples: list[str] = []
        self.more: dict[str, Any] = {}

    def accept(self, count: int = 1) -> None:
        self.accepted += count

    def ignore(self) -> None:
        """Of a kind that carries nothing for the log."""
        self.ignored += 1

    def refuse(self, refused: Refused, did: str = "") -> None:
        self.reasons[refused.reason.value] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{did} {refused}".strip()[:500])

    def summary(self) -> dict[str, Any]:
        refused = sum(self.reasons.values())
        return {
            "unit": self.unit,
            "accepted": self.accepted,
            "refused": refused,
            "ignored": self.ignored,
            "reasons": dict(self.reasons),
            **self.more,
            "examples": self.examples,
        }
