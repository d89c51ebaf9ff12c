"""Moments: one clock for all spellings, and a bound on both sides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.datetimes import MICROS_MAX, MICROS_MIN, from_micros, micros
from schemas.limits import DATETIME_MAX
from schemas.syntax import Datetime, SyntaxRefused

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00.000Z", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("2026-01-02T03:04:05.678Z", 1_767_323_045_678_000),
        ("2026-01-02T03:04:05.678912Z", 1_767_323_045_678_912),
        ("2026-01-02T03:04:05.6789129999999Z", 1_767_323_045_678_912),
        ("2026-01-02T03:04:05.6Z", 1_767_323_045_600_000),
        ("2026-01-02T03:04:05.678+00:00", 1_767_323_045_678_000),
        ("2026-01-02T05:34:05.678+02:30", 1_767_323_045_678_000),
        ("2026-01-01T21:04:05.678-06:00", 1_767_323_045_678_000),
        ("1969-12-31T23:59:59.999Z", -1_000),
        ("2024-02-29T00:00:00.000Z", 1_709_164_800_000_000),
        ("0000-01-01T00:00:00.000Z", MICROS_MIN),
        ("0000-02-29T00:00:00Z", MICROS_MIN + 59 * 86_400_000_000),
        ("9999-12-31T23:59:59.999999Z", MICROS_MAX),
    ],
)
def test_a_moment_has_its_unix_microseconds(text, expected):
    assert micros(text) == expected
    assert Datetime.parse(text).micros == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-02",
        "2026-01-02T03:04Z",
        "2026-01-02T03:04:05.678",
        "2026-01-02 03:04:05.678Z",
        "2026-01-02t03:04:05.678z",
        "2026-01-02T03:04:05.678z",
        "2026-01-02T03:04:05,678Z",
        "2026-01-02T03:04:05.Z",
        "20260102T030405Z",
        "2026-W01-5T03:04:05Z",
        "2026-01-02T03:04:05.678-00:00",
        "2026-01-02T03:04:05.678+0000",
        "2026-01-02T03:04:05.678+24:00",
        "2026-01-02T03:04:05.678+01:60",
        "2026-13-02T03:04:05.678Z",
        "2026-00-02T03:04:05.678Z",
        "2026-01-00T03:04:05.678Z",
        "2023-02-29T00:00:00.000Z",
        "2026-04-31T00:00:00.000Z",
        "2026-01-02T24:00:00.000Z",
        "2026-01-02T03:60:05.678Z",
        "2026-01-02T03:04:60.000Z",
        "2016-12-31T23:59:60Z",
        "-001-01-01T00:00:00.000Z",
        "+2026-01-02T03:04:05.678Z",
        "２０２６-01-02T03:04:05.678Z",
        "2026-01-02T03:04:05.678Z\n",
        "0000-01-01T00:00:00+01:00",
        "0000-01-01T00:00:00.000+00:01",
        "9999-12-31T23:59:59-00:01",
        "2026-01-02T03:04:05." + "1" * 21 + "Z",
        "2026-01-02T03:04:05." + "1" * DATETIME_MAX + "Z",
    ],
)
def test_what_is_no_moment_has_none(text):
    assert micros(text) is None
    assert not Datetime.is_valid(text)
    with pytest.raises(SyntaxRefused):
        Datetime.parse(text)


@settings(deadline=None, max_examples=500)
@given(st.integers(MICROS_MIN, MICROS_MAX))
@example(MICROS_MIN)
@example(MICROS_MAX)
@example(-62_135_596_800_000_000)  # the year 1
@example(-62_135_596_800_000_001)
def test_the_text_of_a_time_has_that_time_to_the_millisecond(us):
    assert micros(from_micros(us)) == us - us % 1000
    assert len(from_micros(us)) == len("2026-01-02T03:04:05.678Z")


@settings(deadline=None, max_examples=500)
@given(st.integers(MICROS_MIN + 400 * DAY, MICROS_MAX - DAY), st.integers(1 - 24 * 60, 24 * 60 - 1).filter(bool))
def test_a_zone_moves_the_text_and_not_the_time(us, minutes):
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    local = EPOCH + timedelta(microseconds=us, minutes=minutes)

    text = local.replace(tzinfo=None).isoformat("T", "microseconds")
    assert micros(f"{text}{sign}{hours:02}:{rest:02}") == us


@pytest.mark.parametrize("us", [-(2**63), MICROS_MIN - 1, MICROS_MAX + 1, 2**63])
def test_a_time_beyond_the_calendar_is_brought_to_its_edge(us):
    assert from_micros(us) == ("0000-01-01T00:00:00.000Z" if us < 0 else "9999-12-31T23:59:59.999Z")


@settings(deadline=None, max_examples=500)
@given(
    st.text(max_size=30)
    | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z", fullmatch=True)
)
def test_any_text_has_a_bounded_time_or_none(text):
    us = micros(text)

    assert us is None or MICROS_MIN <= us <= MICROS_MAX


def test_a_fraction_has_twenty_digits_at_most_so_that_no_moment_reaches_the_limit():
    longest = "2026-01-02T03:04:05." + "1" * 20 + "+00:00"

    assert micros(longest) is not None
    assert len(longest) < DATETIME_MAX
    assert micros(longest.replace("+", "1+")) is None
