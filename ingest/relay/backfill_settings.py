"""How fast a backfill may be. Does not own where the values come from (`headrace/settings_relay.py`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackfillSettings:
    """Requests a second to a host, repos at once from a host and altogether; seconds until the first other try.

    `slow_first`: seconds that a host is left alone which let a deadline pass, twice as long each time.
    """

    per_second: float = 8.0
    at_once_host: int = 2
    at_once: int = 4
    first_pause: float = 2.0
    slow_first: float = 5.0
