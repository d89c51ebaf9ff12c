"""Many seeds, for as long as one likes: `python tests/oracle/soak.py --seeds N --from S [--steps K]`.

Each seed is printed before it runs, so that what fails can be run again: `--from SEED --seeds 1`. Exit code 1 if any
failed; the rest run all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.oracle.compare import Watch
from tests.oracle.run import run

_MEMORY = Path("/dev/shm")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--from", type=int, default=1000, dest="first")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--stop", action="store_true", help="at the first that fails")
    options = parser.parse_args()
    watch, failed, started = Watch(), [], time.monotonic()
    for seed in range(options.first, options.first + options.seeds):
        print(f"seed {seed}", end="\r", flush=True)
        with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as directory:
            try:
                asyncio.run(run(Path(directory), seed, options.steps, watch))
            except Exception as error:  # noqa: BLE001 - said, and the run is red
                failed.append(seed)
                print(f"seed {seed} FAILED: {error!r:.2000}", flush=True)
                if options.stop:
                    break
    seconds = time.monotonic() - started
    print(f"{options.seeds} seeds from {options.first}, {options.steps} steps each, {seconds:.0f} s, failed: {failed}")
    for name, count in sorted(watch.counts.items()):
        print(f"  {name:<40} {count:>9}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
