"""Runs one program, and ends it when whoever asked for it is gone.

`python watch.py LOG PROGRAM ARGUMENT...`: says the program's pid on stdout, takes the program's exit code for its own,
and kills the program (SIGKILL) when stdin ends, which it does when the asking process dies in any way. If this process
is killed itself, the kernel kills the program (Linux).
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_at_end_of_input(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1024):
        pass
    child.kill()


def main(log: str, *program: str) -> None:
    with open(log, "ab") as said:  # noqa: PTH123 - pathlib costs more than all the rest of this program
        child = subprocess.Popen(
            program,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread has been started yet
        )
    os.write(1, f"{child.pid}\n".encode())
    threading.Thread(target=_kill_at_end_of_input, args=(child,), daemon=True).start()
    code = child.wait()
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main(*sys.argv[1:])
