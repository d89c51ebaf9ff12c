"""What `views.store_scylla` asks of a driver, and what every driver keeps to. Does not own any of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Sequence
from typing import Any, Final, Protocol

from views.table import Row

Prepared = Any  # a PreparedStatement: `bind(values)` makes a statement of it
Statement = Any  # a bound or plain statement, or a batch of them

IN_FLIGHT: Final = 256  # statements of one process at the store; what is asked beyond them waits here, in order
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
PAGE_PATIENCE: Final = 6  # times as long as another statement: a page of a scan


class StoreUnavailableError(Exception):
    """The store did not acknowledge in time; what was asked may have taken effect, and may be asked again."""


class Rows(Protocol):
    """What the store asks of a driver; `CqlSession` is one."""

    repeated: int

    async def prepare(self, text: str, *, page_size: int | None = None) -> Prepared: ...

    def batch(self, statements: Sequence[Statement]) -> Statement: ...

    def home(self, statement: Statement) -> Hashable: ...

    async def run(self, statements: Sequence[Statement]) -> list[list[Row]]: ...

    def pages(self, statement: Statement) -> AsyncIterator[list[Row]]: ...

    async def close(self) -> None: ...


def away(waited: float, reason: str) -> StoreUnavailableError:
    return StoreUnavailableError(f"the store did not acknowledge for {waited:.0f} s: {reason}")


def closed() -> StoreUnavailableError:
    return StoreUnavailableError("the session was closed before the store acknowledged")
