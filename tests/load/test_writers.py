"""Writers: who joins has a handle that servers take, and that nobody else has."""

from __future__ import annotations

from headrace.load.writers import newcomer

LONGEST = 18  # of a label under a domain of a PDS (TS packages/pds/src/handle)


def test_a_wave_of_newcomers_has_handles_that_are_taken() -> None:
    tag = "t0123abcd"
    numbers = [*range(1, 2_000), 46_655, 46_656, 1_679_615]
    labels = [newcomer(tag, place, number) for place in ((0, 0), (1, 0), (0, 1), (9, 35)) for number in numbers]

    assert max(map(len, labels)) <= LONGEST
    assert len(set(labels)) == len(labels)
    assert len({newcomer(tag, place, 1) for place in ((1, 36), (37, 0), (13, 7), (1, 1))}) == 4
