"""How long other people's hosts are waited for: deadlines over whole exchanges, and the least pace of a long body.

A timeout that begins again with every byte bounds nothing, as a host may send one byte at a time. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds.

    `connect`: until a handshake or a short answer is whole. `answer`: until the head of a long answer is. `ping`: what
    a stream may be silent before it is asked, and after. `mute`: what a stream may go without one whole message,
    whatever else it sends. `stall`: what a body may be behind `pace` (bytes a second). `repo`: a repo altogether.
    `close`: a farewell.
    """

    connect: float = 15.0
    answer: float = 60.0
    ping: float = 30.0
    mute: float = 3_600.0
    stall: float = 30.0
    pace: float = 16_384.0
    repo: float = 900.0
    close: float = 1.0


class Pace:
    """How long a body may still be waited for. Only what was waited counts: a slow reader is not the host's fault."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._waited = 0.0
        self._came = 0

    @property
    def left(self) -> float:
        """Seconds; below 0 what does not come at once comes too slowly."""
        return self._patience.stall + self._came / self._patience.pace - self._waited

    def came(self, size: int, waited: float) -> None:
        """A piece, with the seconds that were waited for it."""
        self._came += size
        self._waited += waited
