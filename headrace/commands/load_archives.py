"""`headrace load record|info|verify|cut|cat|import|export|synthesise|serve`: archives of firehoses.

Does not own what the commands do (`headrace/load/archive/`, `headrace/load/synthesis/`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

COMMANDS: dict[str, Callable[..., Any]] = {}
