"""What the C library's allocator is told when one process begins to be the whole network.

glibc gives threads heaps of their own, which do not lend each other what is free: the two of password hashes keep
19 MiB each for the next one. Threads here take turns more than they meet, so one heap serves all, and what a hash
leaves is used by the next page or row. Does not own what is allocated.
"""

from __future__ import annotations

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8  # malloc.h


def share_one_heap() -> bool:
    """Call it before there are threads. False where the library is another."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_ARENA_MAX, 1))
