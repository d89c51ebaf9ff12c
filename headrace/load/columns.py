"""Rows as aligned columns for a terminal: the first to the left, numbers to the right; colour only on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_COLOURS = {"worse": "31", "better": "32"}


def write(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """On stdout. A row whose last cell is `worse` or `better` is coloured so on a terminal, unless NO_COLOR is set."""
    colours = _COLOURS if sys.stdout.isatty() and "NO_COLOR" not in os.environ else {}
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(cells).rstrip()
        code = colours.get(row[-1])
        sys.stdout.write(f"\x1b[{code}m{line}\x1b[0m\n" if code else f"{line}\n")
