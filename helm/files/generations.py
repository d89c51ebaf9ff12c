"""Build or flip a generation of views: `build NAME`, `flip NAME SECONDS`; exit code 0 when it is so.

Run by the chart's jobs, in the image. It asks `headrace` and decides nothing that `headrace` decides.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

REFUSED = 3  # the exit code of a refusal, which may pass
PAUSE_SECONDS = 10.0


def generations() -> dict[str, Any]:
    listed = subprocess.run(["headrace", "views", "list", "--json"], check=True, text=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(listed.stdout)
    return found


def build(name: str) -> int:
    """Nothing, when it is there already."""
    if name in generations():
        print(f"{name} is there already")
        return 0
    return subprocess.run(["headrace", "views", "build", name], check=False).returncode


def flip(name: str, seconds: float, pause: float = PAUSE_SECONDS) -> int:
    """Ask until it is live: a generation that has not seen all of the log is refused, and asked for again."""
    until = time.monotonic() + seconds
    while True:
        found = generations().get(name)
        if found is None:
            print(f"there is no generation {name}: name it under `generations` in the values", file=sys.stderr)
            return 1
        if found["state"] == "live":
            print(f"{name} is live")
            return 0
        code = subprocess.run(["headrace", "views", "flip", name], check=False).returncode
        if code not in (0, REFUSED):
            return code
        if time.monotonic() >= until:
            print(f"{name} is not live after {seconds:.0f} s; readers go on as before", file=sys.stderr)
            return 1
        if code:
            time.sleep(pause)


def main(arguments: list[str]) -> int:
    if arguments[0] == "build":
        return build(arguments[1])
    return flip(arguments[1], float(arguments[2]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
