"""What a client process is told, and what it says: JSON, one document a line.

Does not own how it acts (`client_process.py`) nor what becomes of its words (`clients.py`).
"""

from __future__ import annotations

from array import array

import msgspec
from msgspec import Struct

from headrace.load.plan import Plan

LATENESS = "lateness"  # an operation of its own: when it was sent, after when it was due


class Job(Struct, frozen=True):
    """One of `of` processes. `begin` is a moment of CLOCK_MONOTONIC, which all processes of a machine share."""

    plan: Plan
    url: str
    world: str  # a file's path
    index: int
    of: int
    begin: float


class Cell(Struct, frozen=True, tag="cell"):
    """What became of requests of one operation that were due in one second. Cells of one second add up."""

    second: int
    operation: str
    latencies: bytes  # microseconds, unsigned 32 bits each in the machine's order
    errors: dict[str, int]
    dropped: int = 0

    def micros(self) -> array[int]:
        found = array("I")
        found.frombytes(self.latencies)
        return found


class Checked(Struct, frozen=True, tag="checked"):
    """Answers that were looked at, by what was looked for; and what was wrong, the first few in words."""

    made: dict[str, int]
    failed: dict[str, int]
    details: list[str]


class Tallies(Struct, frozen=True, tag="tallies"):
    """How often each subject was liked, reposted or replied to: (kind, uri, at least, at most)."""

    counts: list[tuple[str, str, int, int]]


class Unseen(Struct, frozen=True, tag="unseen"):
    """Posts (uris) that followers (by number) were not shown in time: looked for again when the views have settled."""

    posts: list[tuple[str, int]]


class Finished(Struct, frozen=True, tag="finished"):
    """The last word."""

    sent: int


Word = Cell | Checked | Tallies | Unseen | Finished

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Word).decode
