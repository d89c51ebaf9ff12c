"""A run's result: one JSON document, described in docs/load-testing.md, from which reports and comparisons are made.

Holds no token and no password. Does not own how it is shown (`report.py`, `compare.py`).
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct, field

from headrace.load.plan import Plan

VERSION = 1


class Latency(Struct, frozen=True):
    """Milliseconds, from when a request was due."""

    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float
    mean: float


class Point(Struct, frozen=True):
    """One second, by when requests were due. `ms` are the 50th, 90th, 99th and 99.9th percentile; none of no answer."""

    second: int
    answers: int
    ms: list[float]


class Operation(Struct, frozen=True):
    """Counts and latency of the judged time; `points` and `kinds` of the whole load."""

    name: str
    answers: int
    rate: float
    errors: int
    dropped: int
    kinds: dict[str, int]
    latency: Latency
    curve: list[tuple[float, float]]
    points: list[Point]


class Errors(Struct, frozen=True):
    second: int
    kinds: dict[str, int]


class Sample(Struct, frozen=True):
    """One look at one process: share of a core, bytes resident, open descriptors. `at` is seconds from the begin."""

    at: float
    cpu: float
    rss: int
    fds: int


class Process(Struct, frozen=True):
    name: str
    samples: list[Sample]


class Lag(Struct, frozen=True):
    """What the target's metrics said: entries and seconds that its views were behind its log."""

    at: float
    behind: float
    seconds: float


class Event(Struct, frozen=True):
    """What happened to a process, by the plan or not."""

    at: float
    what: str
    planned: bool


class Checks(Struct, frozen=True):
    made: dict[str, int]
    failed: dict[str, int]
    details: list[str]


class Player(Struct, frozen=True):
    """What an archive's player did. `accepted` and `refused` are the target's words."""

    name: str
    sent: int
    accepted: int
    refused: int
    seconds: float
    error: str = ""


class Verdict(Struct, frozen=True):
    """One criterion. `found` is None when nothing was measured, which fails it."""

    measure: str
    wanted: str
    found: float | None
    passed: bool


class Result(Struct, frozen=True):
    """Everything a report needs."""

    plan: Plan
    short: bool
    begun: str
    seconds: float
    judged_seconds: float
    target: str
    machine: dict[str, str]
    versions: dict[str, str]
    set_up: dict[str, float]
    operations: list[Operation]
    errors: list[Errors]
    checks: Checks
    lateness: Latency
    processes: list[Process]
    lags: list[Lag]
    events: list[Event]
    players: list[Player]
    settled_seconds: float | None
    verdicts: list[Verdict]
    version: int = VERSION
    notes: list[str] = field(default_factory=list)

    def with_verdicts(self, found: list[Verdict]) -> Result:
        return msgspec.structs.replace(self, verdicts=found)

    @property
    def passed(self) -> bool:
        return all(verdict.passed for verdict in self.verdicts)


class ResultError(Exception):
    """A file holds no result that this version reads."""


def write(result: Result, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))


def read(path: Path) -> Result:
    """Of a file, or of `result.json` in a directory. Raises ResultError."""
    file = path / "result.json" if path.is_dir() else path
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Result)
    except (OSError, msgspec.MsgspecError) as error:
        raise ResultError(f"{file}: expected a result of `headrace load run` ({error})") from None
    if found.version != VERSION:
        raise ResultError(f"{file}: expected a result of version {VERSION}, found {found.version}")
    return found
