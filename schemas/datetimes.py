"""Moments in text and as unix microseconds.

The form is the intersection of RFC 3339, ISO 8601 and WHATWG that lexicons allow
(https://atproto.com/specs/lexicon#datetime). Does not own the log's clock.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from schemas.limits import DATETIME_MAX

_FORM = re.compile(
    r"([0-9]{4})-([0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,20}))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))",
).fullmatch
_USUAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z").fullmatch
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - both sides of each subtraction are UTC without saying so
_DAY_MICROS: Final = 86_400_000_000
_SECOND_MICROS: Final = 1_000_000
# Python's calendar begins with the year 1, the protocol's with 0; the calendar repeats every 400 years.
_CYCLE_YEARS: Final = 400
_CYCLE_MICROS: Final = 146_097 * _DAY_MICROS
_CYCLE_SECONDS: Final = _CYCLE_MICROS // _SECOND_MICROS
MICROS_MIN: Final = -62_167_219_200_000_000  # 0000-01-01T00:00:00Z
MICROS_MAX: Final = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z


def micros(text: str) -> int | None:
    """Unix microseconds of a well-formed moment in the years 0000 to 9999 (UTC), else None. Finer digits are cut."""
    if _USUAL(text) is not None and text[:4] != "0000":
        try:
            span = datetime.fromisoformat(text[:23]) - _EPOCH
        except ValueError:
            return None
        return span.days * _DAY_MICROS + span.seconds * _SECOND_MICROS + span.microseconds
    return _any_form(text)


def from_micros(us: int) -> str:
    """The moment with milliseconds and Z; `us` beyond the years 0000 to 9999 is brought to their edge."""
    second, rest = divmod(min(max(us, MICROS_MIN), MICROS_MAX), _SECOND_MICROS)
    return f"{_whole_second(second)}.{rest // 1000:03d}Z"


@lru_cache(maxsize=1_024)
def _whole_second(second: int) -> str:
    """Those of now are asked for again and again."""
    early = second < -_CYCLE_SECONDS * 4
    text = (_EPOCH + timedelta(seconds=second + _CYCLE_SECONDS if early else second)).isoformat("T", "seconds")
    return f"{int(text[:4]) - _CYCLE_YEARS:04d}{text[4:]}" if early else text


def _any_form(text: str) -> int | None:
    form = _FORM(text) if len(text) <= DATETIME_MAX else None
    if form is None:
        return None
    year, rest, fraction, sign, hours, minutes = form.groups()
    early = int(year) < _CYCLE_YEARS
    try:
        moment = datetime.fromisoformat(f"{int(year) + _CYCLE_YEARS:04d}-{rest}" if early else f"{year}-{rest}")
    except ValueError:
        return None
    span = moment - _EPOCH
    us = span.days * _DAY_MICROS + span.seconds * _SECOND_MICROS - (_CYCLE_MICROS if early else 0)
    if fraction is not None:
        us += int(fraction[:6].ljust(6, "0"))
    if sign is not None:
        if int(hours) > 23 or int(minutes) > 59 or (sign == "-" and hours == minutes == "00"):
            return None
        offset = (int(hours) * 60 + int(minutes)) * 60 * _SECOND_MICROS
        us += offset if sign == "-" else -offset
    return us if MICROS_MIN <= us <= MICROS_MAX else None
