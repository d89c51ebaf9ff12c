from __future__ import annotations

from ingest.pds.rate_limit import BY_METHOD, CREATE_POINTS, GLOBAL, WRITES, RateLimiter, Rule

TEN = Rule("ten", 10, 60, "ip")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_nth_request_passes_and_the_next_does_not_until_the_window_ends():
    clock = Clock()
    limiter = RateLimiter(clock)

    states = [limiter.take(TEN, "a") for _ in range(11)]
    clock.now += 60
    after = limiter.take(TEN, "a")

    assert [state.exceeded for state in states] == [False] * 10 + [True]
    assert [state.remaining for state in states][-2:] == [0, 0]
    assert (after.exceeded, after.remaining) == (False, 9)


def test_headers_are_those_of_the_reference():
    state = RateLimiter(Clock()).take(TEN, "a", 3)

    assert state.headers() == {
        "RateLimit-Limit": "10",
        "RateLimit-Remaining": "7",
        "RateLimit-Reset": "1060",
        "RateLimit-Policy": "10;w=60",
    }


def test_keys_and_rules_are_counted_apart():
    limiter = RateLimiter(Clock())
    for _ in range(10):
        limiter.take(TEN, "a")

    assert not limiter.take(TEN, "b").exceeded
    assert not limiter.take(Rule("other", 10, 60, "ip"), "a").exceeded
    assert limiter.take(TEN, "a").exceeded


def test_of_several_rules_the_exceeded_or_the_tightest_answers():
    limiter = RateLimiter(Clock())

    first = limiter.take_all([(GLOBAL, "a", 1), (TEN, "a", 1)])
    for _ in range(9):
        limiter.take(TEN, "a")
    second = limiter.take_all([(GLOBAL, "a", 1), (TEN, "a", 1)])

    assert first.rule is TEN
    assert not first.exceeded
    assert second.rule is TEN
    assert second.exceeded


def test_one_thousand_six_hundred_and_sixty_six_creates_pass_in_an_hour():
    limiter = RateLimiter(Clock())

    passed = 0
    while not limiter.take_all([(rule, "did", CREATE_POINTS) for rule in WRITES]).exceeded:
        passed += 1

    assert passed == 1666


def test_a_million_keys_take_bounded_memory_and_scale_multiplies():
    limiter = RateLimiter(Clock(), scale=2.0, capacity=100)

    for number in range(1000):
        limiter.take(TEN, str(number))

    assert len(limiter._windows) == 100
    assert limiter.take(TEN, "x").limit == 20


def test_every_limited_method_has_a_lexicon():
    from schemas import lexicon

    assert all(lexicon.load().method(nsid) is not None for nsid in BY_METHOD)
