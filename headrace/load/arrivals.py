"""When requests are due, by an open model: from a rate, a ramp and a seed, and from nobody's answers.

Unit-rate arrivals (Poisson or evenly spaced) are mapped through the inverse of the rate's integral, so a ramp is exact
and the same seed gives the same moments. Does not own the clock that they are held against (`driving.py`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator


def arrivals(
    rate: float, seconds: float, ramp: float, rng: random.Random | None, *, part: int = 0, parts: int = 1
) -> Iterator[float]:
    """Seconds from the beginning, rising, below `seconds`; of one of `parts` equal parts of a stream.

    `rate` is the whole stream's, a second, reached after `ramp` seconds along a straight line. Without `rng` they are
    evenly spaced, and the parts interleave.
    """
    share = rate / parts
    passed = 0.0 if rng is not None else (part + 0.5) / parts
    while True:
        if rng is not None:
            passed += rng.expovariate(1.0)
        at = math.sqrt(2 * ramp * passed / share) if passed < share * ramp / 2 else passed / share + ramp / 2
        if at >= seconds:
            return
        yield at
        if rng is None:
            passed += 1.0


def stream(seed: int, *names: object) -> random.Random:
    """A generator of its own for each purpose: what one draws changes nothing for another."""
    return random.Random(":".join(str(each) for each in (seed, *names)))  # noqa: S311 - a plan's dice, no secret
