"""When a player's frames are due: what is due is its rate's integral, and each is due when those before it were."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.load.plan import Bursts, Players
from headrace.load.plan_file import PlanError, parse
from headrace.load.tempo import Tempo

BURSTS = st.none() | st.builds(
    Bursts,
    every=st.floats(2, 10),
    seconds=st.floats(0.1, 2),
    times=st.floats(0, 20),
    first=st.floats(0, 10),
)


def rate_at(players: Players, at: float) -> float:
    """The slow twin: the rate of one moment."""
    rate = players.rate * (min(1.0, at / players.ramp) if players.ramp else 1.0)
    bursts = players.bursts
    is_in = bursts is not None and at >= bursts.first and (at - bursts.first) % bursts.every < bursts.seconds
    return rate * bursts.times if is_in and bursts is not None else rate


@settings(deadline=None)
@given(rate=st.floats(0.5, 100), ramp=st.just(0.0) | st.floats(0.5, 20), bursts=BURSTS, seconds=st.floats(0, 40))
def test_what_is_due_is_the_integral_of_the_rate(
    rate: float, ramp: float, bursts: Bursts | None, seconds: float
) -> None:
    players = Players(rate=rate, ramp=ramp, bursts=bursts)
    step = 0.01
    slow = sum(rate_at(players, (number + 0.5) * step) * step for number in range(int(seconds / step)))

    most = rate * (1 if bursts is None else max(1.0, bursts.times))
    assert Tempo(players).due(seconds) == pytest.approx(slow, abs=most * step * 50)


@settings(deadline=None)
@given(rate=st.floats(0.5, 100), ramp=st.just(0.0) | st.floats(0.5, 20), bursts=BURSTS, number=st.integers(0, 2_000))
def test_a_frame_is_due_when_all_before_it_were(rate: float, ramp: float, bursts: Bursts | None, number: int) -> None:
    tempo = Tempo(Players(rate=rate, ramp=ramp, bursts=bursts))
    at = tempo.when(number, 0)

    assert tempo.due(at) >= number - 1e-6
    assert tempo.due(max(0.0, at - 1e-3)) <= number
    assert tempo.when(number + 1, 0) >= at


def test_nothing_is_due_in_a_pause_and_more_in_a_burst() -> None:
    pause = Tempo(Players(rate=10, bursts=Bursts(every=10, seconds=4, times=0, first=2)))
    burst = Tempo(Players(rate=10, bursts=Bursts(every=10, seconds=4, times=5, first=2)))

    assert [pause.due(at) for at in (2, 4, 6, 12, 16)] == [20, 20, 20, 80, 80]
    assert [burst.due(at) for at in (2, 4, 6, 12, 16)] == [20, 120, 220, 280, 480]
    assert pause.when(21, 0) == pytest.approx(6.1, abs=1e-3)


def test_a_rate_that_is_all_pause_ends() -> None:
    assert Tempo(Players(rate=10, bursts=Bursts(every=1, seconds=1, times=0))).when(1, 0) == inf


def test_recorded_time_goes_so_many_times_as_fast_and_flat_out_waits_for_nothing() -> None:
    assert Tempo(Players(archive="a", times=4), first=1_000_000).when(7, 9_000_000) == 2.0
    assert Tempo(Players(archive="a")).when(7, 9_000_000) == 0.0
    assert Tempo(Players(archive="a")).due(0.0) == inf


@pytest.mark.parametrize(
    ("player", "words"),
    [
        ("rate = 1\ntimes = 2", "choose one"),
        ("", "give it a rate or an archive"),
        ("times = 2", "give it a rate or an archive"),
        ('archive = "a"\nramp = 3', "give it a rate"),
        ("rate = 1\nbursts = { every = 2, seconds = 3 }", "they overlap"),
    ],
)
def test_a_player_that_cannot_play_is_refused_with_its_line(player: str, words: str) -> None:
    with pytest.raises(PlanError, match=rf"^p\.toml:2: a .*{words}"):
        parse(f'name = "x"\n[players.a]\n{player}\n', "p.toml")
