"""What every actor of a client process acts with. Does not own any of it."""

from __future__ import annotations

from typing import NamedTuple

from headrace.load.plan import Plan
from headrace.load.recorder import Recorder
from headrace.load.tally import Tally
from headrace.load.wire import Pool
from headrace.load.world import World


class Means(NamedTuple):
    """`own` are the numbers of the accounts that no other process likes as."""

    plan: Plan
    world: World
    pool: Pool
    recorder: Recorder
    tally: Tally
    own: list[int]
