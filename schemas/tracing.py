"""Where a write's trace goes on from process to process: W3C trace context (https://www.w3.org/TR/trace-context/).

Off unless `headrace.tracing` puts a tracer in, when the process starts: then `TRACER` is None, and a place that could
be traced costs that one look. A trace is looked at, never relied upon: nothing is derived from it, and what does not
come along is lost with it. Does not own spans, sampling, nor where they are sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

HEADER: Final = "traceparent"  # of a Kafka message and of an HTTP request
FRESH_MILLIS: Final = 600_000  # an older entry is read again (a rebuild): its trace is over
MOST: Final = 32  # entries of one batch whose traces go on
NO_TRACES: Final[Mapping[int, bytes]] = {}
"""By the offset of an entry, what goes along with what follows from it: nothing."""
_NO_CALL: Final[AbstractContextManager[None]] = nullcontext()
_PARENT: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-01", re.ASCII)

Attributes = Mapping[str, str | int]


class Span(Protocol):
    """`header` is what is to go along with what follows; None where nobody looks."""

    @property
    def header(self) -> bytes | None: ...

    def note(self, name: str, value: str | int) -> None:
        """An attribute that is known at the end alone."""
        ...


class Tracer(Protocol):
    """Spans begin and end with the context; an error that passes through is said of them, and passes."""

    def span(
        self, name: str, *, parent: bytes | None = None, attributes: Attributes | None = None
    ) -> AbstractContextManager[Span]:
        """The current one within; of `parent`, or else of what is current."""
        ...

    def batch(
        self, name: str, parents: Sequence[bytes], attributes: Attributes | None = None
    ) -> AbstractContextManager[Mapping[bytes, bytes]]:
        """One of each of `parents` and as long as the batch, linked to each other; by parent, what is to go along.

        The first is the current one within.
        """
        ...

    def call(self, name: str, attributes: Attributes | None = None) -> AbstractContextManager[None]:
        """What a client is asked for, within what is current; no span where nothing is, which would be a trace."""
        ...

    def ids(self) -> tuple[str, str] | None:
        """Trace and span that are current here, in hexadecimal, if somebody looks."""
        ...


TRACER: Tracer | None = None


def install(tracer: Tracer | None) -> None:
    """Once, before anything is started; None takes it out again."""
    global TRACER  # noqa: PLW0603 - like a crash point: a process is traced or it is not
    TRACER = tracer


def call(name: str, attributes: Attributes | None = None) -> AbstractContextManager[None]:
    """`Tracer.call`, if there is a tracer. `attributes` are made by who calls, also where there is none."""
    return _NO_CALL if TRACER is None else TRACER.call(name, attributes)


def parent_of(headers: Iterable[tuple[str, bytes | None]], timestamp: int, now: int) -> bytes | None:
    """The sampled context that a message carries, if it is fresh; times in milliseconds, 0 for not known."""
    for name, value in headers:
        if name == HEADER:
            fresh = timestamp <= 0 or now - timestamp < FRESH_MILLIS
            # Kafka lets a header have no value, not even an empty one.
            return value if fresh and value is not None and _PARENT.fullmatch(value) else None
    return None


def valid(text: str | None) -> bytes | None:
    """A sampled context as a caller sends it; None for anything else."""
    if text is None or len(text) > 64:
        return None
    value = text.encode("utf-8", "replace")
    return value if _PARENT.fullmatch(value) else None
