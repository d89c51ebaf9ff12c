"""TIDs: text order is time order, and a clock that goes back does not."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import InvariantError
from schemas.syntax import SyntaxReason, SyntaxRefused
from schemas.tid import CLOCK_ID_MAX, MICROS_MAX, Tid, TidClock, tid_from_micros

times = st.integers(0, MICROS_MAX)
clock_ids = st.integers(0, CLOCK_ID_MAX)


def test_a_known_tid_has_its_parts():
    assert tid_from_micros(0, 0) == "2222222222222"
    assert tid_from_micros(MICROS_MAX, CLOCK_ID_MAX) == "bzzzzzzzzzzzz"
    assert (Tid("3jzfcijpj2z2a").micros, Tid("3jzfcijpj2z2a").clock_id) == (1_688_137_381_887_007, 6)


@settings(deadline=None)
@given(times, clock_ids)
def test_a_tid_gives_its_parts_back(us, clock_id):
    tid = Tid.parse(tid_from_micros(us, clock_id))

    assert (tid.micros, tid.clock_id) == (us, clock_id)


@settings(deadline=None)
@given(times, clock_ids, times, clock_ids)
def test_text_order_is_time_order(us, clock_id, other_us, other_clock_id):
    one, other = tid_from_micros(us, clock_id), tid_from_micros(other_us, other_clock_id)

    assert (one < other) == ((us, clock_id) < (other_us, other_clock_id))


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**52), min_size=1, max_size=50), clock_ids)
def test_a_clock_rises_strictly_whatever_the_wall_clock_does(walls, clock_id):
    clock = TidClock(clock_id, iter(walls).__next__)

    given_out = [clock.next() for _ in walls]

    assert all(one < other for one, other in pairwise(given_out))
    assert all(tid.micros >= wall for tid, wall in zip(given_out, walls, strict=True))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**52), st.sampled_from("abc")), min_size=1, max_size=60),
    st.dictionaries(st.sampled_from("abc"), st.builds(tid_from_micros, st.integers(0, 2**52), clock_ids)),
    clock_ids,
)
def test_every_repo_rises_strictly_and_none_drags_the_others(steps, heads, clock_id):
    clock = TidClock(clock_id, iter([wall for wall, _ in steps]).__next__)
    latest, heads = -1, dict(heads)
    given_out = []

    for wall, repo in steps:
        rev = clock.next(heads.get(repo))
        latest = max(latest + 1, wall)
        assert repo not in heads or rev > heads[repo]
        assert rev.micros == max(latest, heads[repo].micros + 1 if repo in heads else 0)
        heads[repo] = rev
        given_out.append(rev)

    assert len(given_out) == len(steps)


def test_a_tid_of_another_clock_at_the_same_time_is_passed():
    clock = TidClock(0, lambda: 1_000)
    other = tid_from_micros(1_000, CLOCK_ID_MAX)

    assert clock.next(other) > other


@pytest.mark.parametrize(
    "text", ["", "3jzfcijpj2z2", "3jzfcijpj2z2aa", "3jzfcijpj2z21", "3JZFCIJPJ2Z2A", "zzzzzzzzzzzzz", "3jzfcijpj2z2a\n"]
)
def test_text_that_is_no_tid_is_refused(text):
    assert not Tid.is_valid(text)
    with pytest.raises(SyntaxRefused) as refused:
        Tid.parse(text)
    assert refused.value.reason is SyntaxReason.TID


@pytest.mark.parametrize(("us", "clock_id"), [(-1, 0), (MICROS_MAX + 1, 0), (0, -1), (0, CLOCK_ID_MAX + 1)])
def test_parts_beyond_their_bits_are_our_own_fault(us, clock_id):
    with pytest.raises(InvariantError):
        tid_from_micros(us, clock_id)


@pytest.mark.parametrize("clock_id", [-1, CLOCK_ID_MAX + 1])
def test_a_clock_has_ten_bits_of_identity(clock_id):
    with pytest.raises(InvariantError):
        TidClock(clock_id, lambda: 0)
