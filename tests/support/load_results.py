"""A result of a load as a run would leave it, made by hand: the same each time."""

from __future__ import annotations

import math
from array import array

from headrace.load.criteria import verdicts
from headrace.load.messages import Cell
from headrace.load.plan import Criterion, Fault, Load, Plan, Readers, Writers
from headrace.load.result import Checks, Event, Lag, Player, Process, Result, Sample
from headrace.load.series import Series

SECONDS = 60
PLAN = Plan(
    name="by-hand",
    about="A run that nobody ran: <b>a quiet minute & a fault</b>.",
    seed=7,
    load=Load(seconds=SECONDS, ramp=5),
    readers={"all": Readers(rate=100)},
    writers={"people": Writers(rate=20)},
    faults=[Fault(at=30, do="kill"), Fault(at=33, do="restart")],
    criteria=[Criterion("p99_ms.getTimeline", at_most=400), Criterion("errors", at_most=0.2)],
)


def result(slower: float = 1.0, plan: Plan = PLAN) -> Result:
    """`slower` multiplies every latency."""
    series = Series(plan.judged_from, 10)
    for second in range(SECONDS):
        for name, base in (("getTimeline", 4_000), ("createRecord", 9_000)):
            if 30 <= second < 34:
                series.take(Cell(second, name, b"", {"connect": 80, "cut": 3}))
                continue
            micros = [int(slower * (base + 900 * math.sin(second) + 37 * n * n)) for n in range(80)]
            series.take(Cell(second, name, array("I", micros).tobytes(), {}))
    samples = [Sample(float(n), 0.6 + 0.2 * math.sin(n), 150_000_000 + 100_000 * n, 80) for n in range(SECONDS)]
    found = Result(
        plan=plan,
        short=False,
        begun="2026-01-01T00:00:00Z",
        seconds=float(SECONDS),
        judged_seconds=SECONDS - plan.judged_from,
        target="http://127.0.0.1:2583",
        machine={"processor": "a processor", "cores": "2", "memory": "8.0 GB"},
        versions={"headrace": "0.1.0", "python": "3.11"},
        set_up={"accounts": 100.0, "seconds": 4.0},
        operations=series.operations(SECONDS - plan.judged_from),
        errors=series.errors_by_second(),
        checks=Checks({"a check": 100}, {}, []),
        lateness=series.lateness(),
        processes=[Process("target", samples), Process("client 1", samples[:40])],
        lags=[Lag(float(n), float(n % 7), 0.1 * (n % 7)) for n in range(SECONDS)],
        events=[
            Event(30.0, "target was sent SIGKILL", planned=True),
            Event(33.0, "target started again", planned=True),
        ],
        players=[Player("relay", 1000, 990, 10, 50.0)],
        settled_seconds=0.2,
        verdicts=[],
        notes=["a note"],
    )
    return found.with_verdicts(verdicts(found))
