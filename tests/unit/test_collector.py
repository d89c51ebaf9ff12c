"""Cycles that hold much are given back though they are few; what is small and alive costs no collection."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own: what is told to the collector holds for good, and its size is its own.
_GROWS = """
from headrace import collector

class Cycle:
    def __init__(self):
        self.me, self.held = self, bytearray(b"x" * (4 << 20))

collector.calm()
growth = collector.Growth()
assert not growth.look(), "collected though nothing had grown"
begun, most, collected = collector.resident(), 0, 0
for _ in range(100):
    Cycle()
    collected += growth.look()
    most = max(most, collector.resident() - begun)
print(most >> 20, collected)
"""

_UNSEEN = """
from headrace import collector

collector.resident = lambda: None
growth = collector.Growth()
print(sum(growth.look() for _ in range(3 * collector._SELDOM)))
"""


def run(program: str) -> list[int]:
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [int(word) for word in answer.stdout.split()]


def test_what_few_large_cycles_hold_is_given_back() -> None:
    most, collected = run(_GROWS)
    assert most < 100  # of 400 MiB
    assert 3 <= collected <= 10


def test_where_no_size_can_be_told_it_collects_now_and_then() -> None:
    assert run(_UNSEEN) == [3]
