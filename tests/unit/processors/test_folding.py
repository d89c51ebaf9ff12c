"""Whom a post is fanned out to: those who follow now, whatever is kept in memory of who followed before."""

from __future__ import annotations

from processors.folding import FollowerSets

AUTHOR, READERS = "did:plc:author", [f"did:plc:reader{n}" for n in range(12)]


def test_a_set_that_is_kept_follows_its_followers():
    sets = FollowerSets()
    sets.put(AUTHOR, dict.fromkeys(READERS, 0))

    sets.change(AUTHOR, READERS[:3], {"did:plc:new": 0})

    assert set(sets.get(AUTHOR) or ()) == {*READERS[3:], "did:plc:new"}


def test_what_is_kept_is_bounded_by_followers_and_the_oldest_goes_first():
    sets = FollowerSets(bound=30)
    for author in ("first", "second", "third"):
        sets.put(author, dict.fromkeys(READERS, 0))
        sets.change(author, (), {"did:plc:more": 0})

    assert sets.get("first") is None
    assert sets.get("third") is not None
