"""High-water marks (EXACTNESS 3)."""

from __future__ import annotations

from processors.marks import Marks


def test_a_message_is_let_in_once_and_in_its_source_s_order():
    marks = Marks({})

    let_in = [
        marks.admit("edges", 0, ("records", 0, offset, index)) for offset, index in [(5, 1), (5, 1), (5, 2), (4, 9)]
    ]

    assert let_in == [True, False, True, False]
    assert marks.dropped["edges"] == 2


def test_marks_of_one_topic_or_shard_do_not_hold_for_another():
    """Otherwise an edge from operations[3]@12 is dropped under the mark of records[3]."""
    marks = Marks({("edges", 0, "records", 3): (90, 0)})

    assert marks.admit("edges", 0, ("operations", 3, 12, 0))
    assert marks.admit("edges", 0, ("records", 2, 12, 0))
    assert marks.admit("edges", 1, ("records", 3, 12, 0))
    assert not marks.admit("edges", 0, ("records", 3, 90, 0))


def test_only_what_changed_is_saved():
    marks = Marks({("edges", 0, "records", 0): (3, 0)})
    marks.admit("edges", 0, ("records", 0, 2, 0))
    assert marks.take_changed() == {}
    marks.admit("edges", 0, ("records", 0, 4, 0))

    assert marks.take_changed() == {("edges", 0, "records", 0): (4, 0)}
    assert marks.take_changed() == {}
