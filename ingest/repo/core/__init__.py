"""The compiled core: strict nodes, inversion and CAR sections in C, where a compiler was at hand at installation.

Each function here is either the compiled one or None, and then its twin in Python does the work alone. A compiled
function gives its answer or None for "no answer": whatever is malformed, missing or rare is asked of the twin, which
says what is accepted and names the reason of what is not. So both ways accept and refuse alike.
Does not own what is right (`mst_node.decode_by_the_book`, `invert.invert_by_tree`, `car.read_car`) nor how it is
compiled (`hatch_build.py`). Source: docs/decisions/0015-compiled-core.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Parts = tuple[list[bytes], list[bytes], "list[Any]", int]
"""Keys, values, kids (binary CIDs or None; one more than keys) and layer of a node."""

invert: Callable[[bytes, Callable[[bytes], bytes], tuple[Any, ...]], bytes | None] | None = None
"""`invert(root, load, changes)`: the root before the changes, as `ingest.repo.invert.invert` gives it. HOT."""

take_apart: Callable[[bytes, int | None], Parts | None] | None = None
"""`take_apart(data, height)`: a node's parts, as `ingest.repo.mst_node.take_apart` gives them. HOT."""

encode_entry: Callable[[bytes, bytes, bytes, bytes | None], bytes | None] | None = None
"""`encode_entry(previous, key, value, kid)`, as `ingest.repo.mst_node.encode_entry` gives it. HOT."""

read_blocks: Callable[[bytes, int], dict[bytes, bytes] | None] | None = None
"""`read_blocks(data, at)`: the blocks of a CAR from `at` on by their binary CIDs, hashes checked. HOT."""


def switch(*, on: bool) -> bool:
    """Use the compiled functions, or their twins alone; whether the compiled ones are in use now."""
    global invert, take_apart, encode_entry, read_blocks  # noqa: PLW0603 - a module is the place that all who read share
    try:
        from ingest.repo.core import _compiled  # noqa: PLC0415 - absent where nothing was compiled
    except ImportError:
        return False
    invert = _compiled.invert if on else None
    take_apart = _compiled.take_apart if on else None
    encode_entry = _compiled.encode_entry if on else None
    read_blocks = _compiled.read_blocks if on else None
    return on


switch(on=True)
