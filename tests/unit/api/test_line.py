"""A line: a burst is taken in its order and whole, an overload that lasts is told so soon, and nobody is forgotten."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.line import HURRIED, STANDS_AFTER, Line

MOST, SECONDS, PLACES = 512, 1.0, 16


def line(most: int = MOST, places: int = PLACES) -> Line[int]:
    return Line(most, SECONDS, places)


def stood() -> Line[int]:
    """One that stands at second 1: its first has waited since 0.5."""
    found = line()
    found.join(0, 0.5)
    assert found.stands(1.0)
    return found


def test_a_line_that_has_just_begun_goes_in_order_and_lets_all_of_them_wait_their_whole_time() -> None:
    found = line()
    untils = [found.join(number, 0.01 * number)[0] for number in range(5)]

    assert untils == [0.01 * number + SECONDS for number in range(5)]
    assert [found.next(0.1) for _ in range(5)] == [0, 1, 2, 3, 4]


def test_a_line_stands_when_some_have_waited_all_of_the_last_while() -> None:
    found = line()
    found.join(0, 10.0)

    assert not found.stands(10.0 + SECONDS * STANDS_AFTER - 0.001)
    assert found.stands(10.0 + SECONDS * STANDS_AFTER)
    found.next(10.3)
    found.rest()
    assert not found.stands(11.0)


def test_who_comes_to_a_line_that_stands_waits_a_moment_and_goes_before_all_others() -> None:
    found = stood()
    untils = [found.join(number, 1.0)[0] for number in (1, 2, 3)]

    assert untils == [1.0 + SECONDS * HURRIED] * 3
    assert [found.next(1.01) for _ in range(4)] == [3, 2, 1, 0]


def test_no_more_hurry_than_there_are_places() -> None:
    found = stood()
    for number in range(PLACES):
        assert found.has_room(1.0)
        found.join(number, 1.0)

    assert not found.has_room(1.0)


def test_the_first_of_a_full_line_that_stands_makes_room_for_the_last() -> None:
    found = line(most=3)
    for number in range(3):
        found.join(number, 0.0)

    assert not found.has_room(0.1)
    assert found.has_room(0.5)
    assert found.join(3, 0.5)[1] == 0
    assert len(found) == 3


def test_those_whose_time_is_over_are_taken_out_and_no_others() -> None:
    found = stood()
    found.join(1, 1.0)

    assert found.next_late == 1.0 + SECONDS * HURRIED
    assert found.late(1.04) == []
    assert found.late(1.06) == [1]
    assert found.next_late == 0.5 + SECONDS
    assert found.late(1.5) == [0]
    assert found.next_late is None


def test_one_that_lets_nobody_wait_has_no_room_at_any_time() -> None:
    found = line(most=0)

    assert not found.has_room(0.0)
    assert not found.has_room(100.0)


class Server:
    """Takes `places` each turn, `seconds` long, of what came meanwhile: as an event loop that is never idle does."""

    def __init__(self, waiting: Line[float] | Fifo, places: int, seconds: float) -> None:
        self.line, self.places, self.seconds = waiting, places, seconds
        self.waits: list[float] = []
        self.shed = 0
        self.now = 0.0

    def turn(self, come: int) -> None:
        """So many come during a turn; at its end places are given."""
        for number in range(come):
            at = self.now + self.seconds * number / come
            if not self.line.has_room(at) or self.line.join(at, at)[1] is not None:
                self.shed += 1
        self.now += self.seconds
        free = self.places
        while free and len(self.line):
            self.waits.append(self.now - self.line.next(self.now))
            free -= 1
        if free:
            self.line.rest()
        self.shed += len(self.line.late(self.now))


class Fifo:
    """What went before, and what the line is measured by: first come, first served, all as long."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._line = deque[float]()

    def __len__(self) -> int:
        return len(self._line)

    def has_room(self, _now: float) -> bool:
        return len(self._line) < self._most

    def join(self, who: float, now: float) -> tuple[float, None]:
        self._line.append(who)
        return now + SECONDS, None

    def next(self, _now: float) -> float:
        return self._line.popleft()

    def rest(self) -> None:
        pass

    def late(self, now: float) -> list[float]:
        found = []
        while self._line and self._line[0] + SECONDS <= now:
            found.append(self._line.popleft())
        return found


def test_under_an_overload_that_lasts_as_many_are_taken_and_they_wait_for_a_turn_and_not_for_the_whole_line() -> None:
    new, old = Server(Line(MOST, SECONDS, 64), 64, 0.1), Server(Fifo(MOST), 64, 0.1)
    for server in (new, old):
        for _ in range(100):
            server.turn(320)  # five times what it takes
    last = slice(30 * 64, None)  # when it has lasted three seconds
    new_waits, old_waits = sorted(new.waits[last]), sorted(old.waits[last])

    assert len(new.waits) == len(old.waits) == 100 * 64
    assert new_waits[-1] <= 0.1001
    assert old_waits[len(old_waits) // 2] >= 0.7


@settings(deadline=None)
@given(size=st.integers(1, MOST), live=st.integers(0, 30))
def test_no_burst_after_rest_is_shed_that_places_can_be_given_in_time_whatever_little_goes_on(
    size: int, live: int
) -> None:
    server = Server(Line(MOST + 64, SECONDS, 64), 64, 0.05)
    server.turn(size)
    while len(server.line):
        server.turn(live)

    assert server.shed == 0
    assert max(server.waits) <= SECONDS


@settings(deadline=None)
@given(
    most=st.integers(0, 8),
    places=st.integers(1, 4),
    acts=st.lists(st.tuples(st.sampled_from(["come", "come", "next", "late", "rest"]), st.floats(0, 0.6)), max_size=80),
)
def test_whatever_happens_the_line_is_bounded_and_each_that_came_leaves_it_once(
    most: int, places: int, acts: list[tuple[str, float]]
) -> None:
    found, now, came, left = line(most, places), 0.0, list[int](), list[int]()
    for number, (act, later) in enumerate(acts):
        now += later
        if act == "come" and found.has_room(now):
            came.append(number)
            gone = found.join(number, now)[1]
            left += [] if gone is None else [gone]
        elif act == "next" and len(found):
            left.append(found.next(now))
        elif act == "late":
            left += found.late(now)
            assert found.next_late is None or found.next_late > now
        elif act == "rest" and not len(found):
            found.rest()
        assert len(found) <= most
    left += found.late(now + SECONDS)

    assert len(found) == 0
    assert sorted(left) == came


def test_an_empty_line_has_nobody_next() -> None:
    with pytest.raises(IndexError):
        line().next(0.0)
