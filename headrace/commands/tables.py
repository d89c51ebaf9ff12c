"""Rows for people: columns as wide as what is in them. Does not own what is in them."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def show_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """On stdout, the head in capitals; nothing but printable characters, since rows come from elsewhere."""
    shown = [[name.upper() for name in head], *([_plain(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in shown) for at in range(len(head))]
    for row in shown:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def _plain(cell: object) -> str:
    text = "" if cell is None else str(cell)
    return "".join(letter if letter.isprintable() else "?" for letter in text)
