"""What a password's hash takes in a thread is there for everything else afterwards."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

# In a process of its own: what it tells the allocator holds for good.
_HASH = """
import ctypes, sys
from concurrent.futures import ThreadPoolExecutor
from argon2.low_level import Type, hash_secret
from headrace.allocator import share_one_heap

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
libc.malloc.restype = ctypes.c_void_p
if sys.argv[1] == "told":
    assert share_one_heap()
with ThreadPoolExecutor(1) as thread:
    for _ in range(3):
        thread.submit(hash_secret, b"password", b"0123456789abcdef", 1, 19 * 1024, 1, 32, Type.ID).result()
    before = libc.mallinfo2().arena
    for _ in range(4_000):
        libc.malloc(4_096)  # as the pages of a cache
    print(libc.mallinfo2().arena - before)
"""


def grown(told: str) -> int:
    """Bytes by which the heap grew for 16 MB, after hashes of 19 MiB in another thread."""
    found = subprocess.run([sys.executable, "-c", _HASH, told], capture_output=True, text=True, check=True)
    return int(found.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="another C library")
def test_what_a_hash_leaves_is_used_by_other_threads() -> None:
    assert grown("untold") > 15_000_000
    assert grown("told") < 1_000_000
