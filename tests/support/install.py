"""Installs all programs that tests use and that are no Python, so that no test waits for a compiler.

    python -m tests.support.install

A line a program on stdout, with the seconds that it took; one that is lacking is named on stderr with the reason, and
makes the exit code 1.
"""

from __future__ import annotations

import sys
import time
from functools import partial

from tests.support import npm, tools


def main() -> int:
    code = 0
    wanted = {name: partial(tools.find, name) for name in tools.TOOLS}
    wanted |= {f"npm packages of {name}": partial(npm.install, name) for name in npm.PROJECTS}
    for name, install in wanted.items():
        began = time.monotonic()
        try:
            found = install()
        except tools.ToolUnavailableError as error:
            print(f"{name}: lacking, its tests are skipped: {error}", file=sys.stderr)
            code = 1
        else:
            print(f"{name}: {found} ({time.monotonic() - began:.0f} s)", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
