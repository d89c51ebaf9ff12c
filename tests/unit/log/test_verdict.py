"""`ingest.verdict`: each rule at its edge."""

from __future__ import annotations

import msgspec
import pytest

from ingest.log import Head, Reason
from ingest.verdict import EMPTY_ROOT, PARTIAL, WHOLE, Reject, accept, complete
from schemas.cid import Cid
from schemas.entries import Account, Identity, Moderation
from tests.support.log_world import Repo, record_of

PATH = "app.bsky.feed.post/a"


def at(repo: Repo, **changes) -> Head:
    return msgspec.structs.replace(Head(repo.did, repo.rev, repo.data, repo.commit, b"block"), **changes)


def reason(verdict):
    assert isinstance(verdict, Reject)
    return verdict.reason


def test_the_empty_root_is_the_cid_every_empty_repo_has():
    assert str(EMPTY_ROOT) == "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"


def test_a_first_commit_is_whole_only_from_nothing_and_of_creates_only():
    repo = Repo(1)
    first = repo.write(PATH, record_of("one"))
    second = repo.write(PATH, record_of("two"))

    assert accept(None, first) == WHOLE
    assert accept(None, msgspec.structs.replace(first, prev_data=EMPTY_ROOT, since=second.rev)) == WHOLE
    assert accept(None, msgspec.structs.replace(first, since=second.rev)) == PARTIAL
    assert accept(None, second) == PARTIAL
    assert accept(None, msgspec.structs.replace(second, prev_data=None, since=None)) == PARTIAL


def test_a_commit_needs_a_rev_above_and_the_heads_data():
    repo = Repo(1)
    repo.write(PATH, record_of("one"))
    head = at(repo)
    entry = repo.write(PATH, record_of("two"))

    assert accept(head, entry) == WHOLE
    assert accept(at(repo, data=head.data, commit=head.commit, rev=head.rev, partial=True), entry) == PARTIAL
    assert reason(accept(head, msgspec.structs.replace(entry, prev_data=None))) == Reason.PREV_DATA_MISMATCH
    assert reason(accept(head, msgspec.structs.replace(entry, rev=head.rev))) == Reason.STALE_REV
    assert reason(accept(at(repo), entry)) == Reason.DUPLICATE
    assert reason(accept(at(repo, status="deleted"), entry)) == Reason.DELETED
    assert accept(at(repo, data=None, commit=None, rev=head.rev), entry) == PARTIAL


@pytest.mark.parametrize("status", ["deactivated", "suspended", "takendown", "desynchronized", "throttled"])
def test_only_deletion_closes_an_account_to_commits(status):
    repo = Repo(1)
    repo.write(PATH, record_of("one"))
    head = at(repo, status=status)

    assert accept(head, repo.write(PATH, record_of("two"))) == WHOLE


def test_a_sync_may_repeat_the_head_or_move_it():
    repo = Repo(1)
    repo.write(PATH, record_of("one"))
    head = at(repo)
    same = msgspec.structs.replace(repo.sync_entry(), data=head.data)
    repo.op(PATH, record_of("two"))
    moved = repo.sync_entry()

    assert accept(head, same) == WHOLE
    assert accept(head, msgspec.structs.replace(same, rev=head.rev, commit=head.commit)) == WHOLE
    assert reason(accept(head, msgspec.structs.replace(same, rev=head.rev))) == Reason.STALE_REV
    assert accept(head, moved) == PARTIAL
    assert accept(None, moved) == PARTIAL
    assert accept(None, msgspec.structs.replace(moved, data=EMPTY_ROOT)) == WHOLE
    assert reason(accept(at(repo, status="deleted"), moved)) == Reason.DELETED


def test_a_diff_is_judged_at_its_last_chunk_against_the_base_it_names():
    repo = Repo(1)
    repo.write(PATH, record_of("one"))
    head = at(repo)
    zero, one = repo.diff_entries([repo.op(PATH, record_of("two")), repo.op(PATH + "b", record_of("b"))], 1)
    one = msgspec.structs.replace(one, first=7)
    elsewhere = msgspec.structs.replace(head, data=EMPTY_ROOT)

    assert accept(elsewhere, zero) == WHOLE
    assert accept(msgspec.structs.replace(head, partial=True), one) == WHOLE
    assert reason(accept(elsewhere, one)) == Reason.BASE_MOVED
    assert reason(accept(None, one)) == Reason.BASE_MOVED
    assert reason(accept(head, msgspec.structs.replace(one, rev=head.rev))) == Reason.STALE_REV
    assert accept(head, msgspec.structs.replace(one, rev=head.rev, data=head.data)) == WHOLE
    for wrong in ({"chunk": 2}, {"chunk": -1}, {"first": None}):
        assert reason(accept(head, msgspec.structs.replace(one, **wrong))) == Reason.DIFF_MALFORMED
    assert reason(accept(head, msgspec.structs.replace(zero, first=7))) == Reason.DIFF_MALFORMED


def test_a_diff_is_complete_with_each_chunk_of_one_attempt_in_order():
    repo = Repo(1)
    chunks = repo.diff_entries([repo.op(PATH + key, record_of(key)) for key in "abc"], 1, (None, None))
    zero, one, two = chunks[0], *(msgspec.structs.replace(c, first=5) for c in chunks[1:])
    other = msgspec.structs.replace(one, first=6)
    lie = msgspec.structs.replace(one, data=Cid.of_cbor(b"another"))

    assert complete(two, [(50, 5, zero), (60, 6, zero), (70, 7, other), (80, 8, one), (90, 9, two)]) == (50, 80, 90)
    assert complete(two, [(50, 5, zero), (80, 8, one), (85, 8, one), (90, 9, two)]) == (50, 80, 90)
    for found in (
        [(50, 5, zero), (90, 9, two)],
        [(80, 8, one), (90, 9, two)],
        [(50, 5, zero), (8, 8, lie), (9, 9, two)],
    ):
        assert reason(complete(two, found)) == Reason.DIFF_INCOMPLETE


def test_statements_about_an_account_are_always_accepted():
    repo = Repo(1)
    deleted = at(repo, status="deleted")

    for entry in (Identity(repo.did, None), Account(repo.did, "active"), Moderation(repo.did, "ref")):
        assert accept(deleted, entry) == accept(None, entry) == WHOLE
