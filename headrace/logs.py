"""Logs: JSON lines on stderr. Secrets are cut out by name, whoever put them there.

A line of a request or a batch that is traced says of which trace and span it is.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from typing import Any

import orjson
import structlog
from structlog.tracebacks import ExceptionDictTransformer

from schemas import tracing

# Without the frames' local variables: among them are passwords and tokens.
_tracebacks = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))

NEWEST = 5
_SHORT = 300  # characters of what is kept
_newest: deque[dict[str, str]] = deque(maxlen=NEWEST)

_SECRET_NAMES = ("password", "token", "secret", "jwt", "authorization", "private_key")


def configure(level: str) -> None:
    """Set up structlog and the standard library's logging, which our libraries use."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        traced,
        redact,
        keep,
    ]
    structlog.configure(
        processors=[
            *shared,
            _tracebacks,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _tracebacks,
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


def redact(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for name in event:
        if any(secret in name.lower() for secret in _SECRET_NAMES):
            event[name] = "(secret)"
    return event


def keep(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The newest errors stay at hand for `newest_errors`, when secrets have been cut out."""
    if event.get("level") in ("error", "critical"):
        kept = {"at": event.get("timestamp"), "event": event.get("event"), "cause": event.get("cause")}
        _newest.append({name: str(value)[:_SHORT] for name, value in kept.items() if value is not None})
    return event


def newest_errors() -> list[dict[str, str]]:
    """What this process logged as errors last, the newest last: `at`, `event`, and `cause` if it said one."""
    return list(_newest)


def traced(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The trace that a line is of, where traces are made."""
    if tracing.TRACER is not None and (found := tracing.TRACER.ids()) is not None:
        event["trace_id"], event["span_id"] = found
    return event


def _dumps(value: Any, **_: Any) -> str:
    return orjson.dumps(value, default=str).decode()
