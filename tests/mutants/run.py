"""`python -m tests.mutants.run [WORD ...]`: the mutants of a cluster whose names have one of the words, or all.

Uses the broker and the store that HEADRACE_TEST_KAFKA and HEADRACE_TEST_CQL name, or starts its own. Prints each mutant
as killed or alive; exit code 1 if one lives, or if what is to notice it fails without it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.mutants.cluster import MUTANTS
from tests.mutants.machine import main
from tests.support.devstack.stack import Stack
from tests.support.stack import CQL, KAFKA


def run(words: list[str]) -> int:
    if os.environ.get(KAFKA) and os.environ.get(CQL):
        return main(MUTANTS, words)
    with tempfile.TemporaryDirectory(prefix="headrace-stack-", ignore_cleanup_errors=True) as directory:
        stack = Stack(Path(directory), brokers=1, stores=1).start()
        try:
            os.environ |= {KAFKA: stack.servers, CQL: f"{stack.hosts[0]}:{stack.port}"}
            return main(MUTANTS, words)
        finally:
            stack.stop()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
