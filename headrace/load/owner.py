"""Whose something is that a run leaves outside of itself: which process of which machine made it, and whether it lives.

It stands in the thing's own name, so that it is there from the same moment. Of a process of another machine (another
start of this one, another container) nothing can be told: what it made is nobody's to take away. Linux alone: elsewhere
nothing has an owner. Does not own what is left (`leftovers.py`).
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_MACHINE, _RANDOM = 6, 3  # digits
_PID, _STARTED = 5, 7  # digits: of 4 million processes, and of a century in ticks
LENGTH = _MACHINE + _PID + _STARTED + _RANDOM
"""Characters of a mark, all alike: a CQL keyspace's name leaves few beside its prefix."""
_MARK = re.compile(rf"([0-9a-z]{{{_MACHINE}}})([0-9a-z]{{{_PID}}})([0-9a-z]{{{_STARTED}}})[0-9a-z]{{{_RANDOM}}}")


def mark() -> str:
    """Of this process, another one each time: lower case letters and digits."""
    pid = os.getpid()
    numbers = (pid, _PID), (_started(pid) or 0, _STARTED), (secrets.randbelow(36**_RANDOM), _RANDOM)
    return _machine() + "".join(_written(number, digits) for number, digits in numbers)


def is_dead(name: str) -> bool:
    """Whether a name begins with the mark of a process of this machine that has ended. False where it is not known."""
    found = _MARK.match(name)
    if found is None or found[1] != _machine():
        return False
    pid, started = int(found[2], 36), int(found[3], 36)
    now = _started(pid)
    return started > 0 and now != started and (now is not None or not _is_hidden(pid))


def _machine() -> str:
    """One start of one machine, and the name space in which ids of processes mean what they mean here."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return _written(0, _MACHINE)
    digest = hashlib.sha256(f"{boot} {space}".encode()).digest()
    return _written(int.from_bytes(digest) % 36**_MACHINE, _MACHINE)


def _started(pid: int) -> int | None:
    """In ticks since the machine started, 0 when it has ended and is still listed; None when none is to be seen."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, *fields = stat.rpartition(b")")[2].split()  # its name may hold anything
    return 0 if state in {b"Z", b"X"} else int(fields[18])


def _is_hidden(pid: int) -> bool:
    """Whether there is one that /proc does not show: where it is mounted with `hidepid`, those of others."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _written(number: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits
