"""Buckets and windows over a clock that a test moves; progress of a stream whose messages end in any order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.relay.quotas import Bucket, Buckets, Rate, Windows, host_rates
from ingest.relay.source import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_what_it_holds_and_then_what_flows_in() -> None:
    clock = Clock()
    bucket = Bucket(Rate(10, 1), clock)

    assert [bucket.take() for _ in range(11)] == [True] * 10 + [False]
    assert bucket.wait() == 0.1
    clock.now += 0.1
    assert [bucket.take() for _ in range(2)] == [True, False]
    clock.now += 100
    assert sum(bucket.take() for _ in range(20)) == 10


def test_one_of_several_rates_that_is_used_up_holds_all_back() -> None:
    clock = Clock()
    buckets = Buckets((Rate(50, 1), Rate(100, 3_600), Rate(1_000, 86_400)), clock)
    taken = 0
    for _ in range(10):
        while buckets.take() == 0:
            taken += 1
        clock.now += 1

    assert taken == 100
    assert 25 < buckets.take() < 27  # one flows in every 36 s, and ten have passed


def test_a_host_may_send_what_the_reference_relay_lets_it() -> None:
    assert host_rates(0, trusted=False) == (Rate(50, 1), Rate(2_500, 3_600), Rate(20_000, 86_400))
    assert host_rates(3_000, trusted=False) == (Rate(53, 1), Rate(5_500, 3_600), Rate(50_000, 86_400))
    assert host_rates(0, trusted=True)[0] == Rate(5_000, 1)


def test_a_window_counts_each_key_and_forgets_the_oldest() -> None:
    clock = Clock()
    windows = Windows(Rate(3, 60), keys=100, now=clock)

    assert [windows.take("a") for _ in range(4)] == [True, True, True, False]
    assert windows.take("b")
    clock.now = 60
    assert windows.take("a")
    for key in range(1_000):
        assert windows.take(key)
    assert len(windows) == 100


@given(st.permutations(range(1, 13)), st.sets(st.integers(1, 12)))
def test_a_cursor_never_passes_what_is_under_way(order: list[int], skipped: set[int]) -> None:
    progress = Progress()
    begun = [seq * 3 for seq in range(1, 13) if seq not in skipped]  # gaps are allowed
    for seq in begun:
        progress.begin(seq)
    under_way = set(begun)
    for number in order:
        if number * 3 in under_way:
            under_way.remove(number * 3)
            progress.done(number * 3)
            below = [seq for seq in begun if not under_way or seq < min(under_way)]
            assert progress.reached == (max(below) if below else None)
    assert progress.waiting == 0
