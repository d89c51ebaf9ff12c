"""Keeps client libraries from filling the log while a broker is away: of one kind of line, one in a while.

Does not own where lines go.
"""

from __future__ import annotations

import logging
import time

_EVERY_SECONDS = 10.0
_KINDS = 500


class Sparing(logging.Filter):
    """Passes the first line of a kind (logger and template), then one in 10 s that says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}
        self.left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        kind, now = (record.name, str(record.msg)[:80]), time.monotonic()
        last, left_out = self._kinds.get(kind, (float("-inf"), 0))
        if now - last < _EVERY_SECONDS:
            self._kinds[kind] = (last, left_out + 1)
            self.left_out += 1
            return False
        if len(self._kinds) >= _KINDS:
            self._kinds.clear()
        self._kinds[kind] = (now, 0)
        if left_out:
            record.msg = f"{record.msg} (and {left_out} like it)"
        return True


def spare(*prefixes: str) -> Sparing:
    """Put one filter before every logger there is by now under these names."""
    sparing = Sparing()
    for name in [*logging.root.manager.loggerDict, *prefixes]:
        if any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes):
            logging.getLogger(name).addFilter(sparing)
    return sparing
