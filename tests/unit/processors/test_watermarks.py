"""Watermarks raise the vector whatever order they come in (EXACTNESS 4), and the vector is the least of all."""

from __future__ import annotations

from itertools import permutations

from processors.lanes.hop_codec import Watermark
from processors.lanes.watermarks import Watermarks
from views.complete import complete, newest_times
from views.store import Progress


def test_late_and_repeated_watermarks_lower_nothing():
    said = [Watermark(1, (5, 9)), Watermark(1, (7, 3)), Watermark(1, (7, 3))]

    for order in permutations(said):
        marks = Watermarks("fanout", 0, {})
        for watermark in order:
            marks.take(watermark)
        assert marks.take_changed() == {("fanout", 0, 1): (7, 9)}
        assert marks.take_changed() == {}


def test_what_says_nothing_new_is_not_saved():
    marks = Watermarks("edges", 0, {("edges", 0, 1): (7,)})
    marks.take(Watermark(1, (7,)))
    marks.take(Watermark(1, (2,)))

    assert marks.take_changed() == {}
    assert marks.of_senders(3) == (0, 7, 0)


def whole(at: int) -> Progress:
    """Two shards, all of whose parts stand at `at`."""
    places = [(one, other) for one in (0, 1) for other in (0, 1)]
    return Progress(
        {("records", shard): at for shard in (0, 1)},
        {},
        {
            **{("edges", *place): (at,) for place in places},
            **{("fanout", *place): (at, at) for place in places},
            ("records", 0, 0): (3, 4, 5),
        },
    )


def test_views_are_complete_up_to_the_least_of_all_parts():
    assert complete(whole(50), 2) == (50, 50)
    for place in whole(50).vector:
        behind = whole(50)
        behind.vector[place] = 40
        assert complete(behind, 2) == tuple(40 if shard == place[1] else 50 for shard in (0, 1))
    for place in whole(50).watermarks:
        if place[0] == "edges":
            behind = whole(50)
            behind.watermarks[place] = (40,)
            assert complete(behind, 2) == tuple(40 if shard == place[2] else 50 for shard in (0, 1))
        if place[0] == "fanout":
            behind = whole(50)
            behind.watermarks[place] = (50, 40)
            assert complete(behind, 2) == (50, 40)


def test_nothing_is_complete_before_everybody_has_spoken():
    for place in whole(50).watermarks:
        if place[0] != "records":
            silent = whole(50)
            del silent.watermarks[place]
            assert 0 in complete(silent, 2)
    assert complete(Progress({}, {}), 2) == (0, 0)


def test_the_newest_entrys_time_is_kept_beside_the_progress_of_its_lane():
    assert newest_times(whole(50), 2) == (5, 0)
