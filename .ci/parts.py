"""Run the parts of CI one after the other, and hold each against its time budget.

A part that fails ends the run. A part that passes its tests but not its budget ends the run red as well, after
everything has run, so that one slow part does not hide the result of the next.
"""

from __future__ import annotations

import subprocess
import sys
import time

PARTS: tuple[tuple[str, int], ...] = (  # make target, minutes
    ("setup", 8),
    ("tools", 9),
    ("lint", 3),
    ("test-unit", 10),
    ("test-oracle", 10),
    ("test-clients", 6),
    ("test-cluster", 28),
    ("test-drills", 18),
    ("test-relay", 10),
    ("test-load", 10),
    ("test-chart", 3),
    ("test-ops", 9),
)


def main() -> int:
    rows: list[tuple[str, float, int]] = []
    failed: str | None = None
    for target, budget in PARTS:
        print(f"=== make {target} (budget {budget} min)", flush=True)
        started = time.monotonic()
        code = subprocess.run(["make", target], check=False).returncode  # noqa: S603, S607 - our own targets
        rows.append((target, (time.monotonic() - started) / 60, budget))
        if code != 0:
            failed = f"make {target} exited with {code}"
            break
    print("\npart            minutes   budget")
    for target, minutes, budget in rows:
        print(f"{target:<15} {minutes:7.2f} {budget:8d}{'   OVER' if minutes > budget else ''}")
    over = [target for target, minutes, budget in rows if minutes > budget]
    if over and failed is None:
        failed = f"over budget: {', '.join(over)}"
    print(f"ci: {failed or 'passed'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
