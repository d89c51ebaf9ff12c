"""Traces to an OpenTelemetry collector (OTLP over HTTP). Imported only where `otlp_endpoint` is set.

A trace is begun by a request, at the share that is set, and sampled by its id: every process that sees the id decides
alike. Spans wait in a bounded queue and are dropped where the collector is slow or away: nothing waits for it. The
collector's address is the operator's setting, hence not held to the address guard. Does not own where spans begin and
end (`schemas.tracing` says to whom they belong).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

import requests
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from schemas.tracing import MOST, Attributes

QUEUE: Final = 4_096  # spans
_EACH: Final = 512  # spans of one request to the collector
_EVERY_MILLIS: Final = 1_000
_SECONDS: Final = 5.0


class OtlpSpan:
    """`schemas.tracing.Span` over the SDK's."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def header(self) -> bytes | None:
        return _header(self._span.get_span_context())

    def note(self, name: str, value: str | int) -> None:
        self._span.set_attribute(name, value)


class OtlpTracer:
    """`schemas.tracing.Tracer`. `close` sends what waits, for so long as one answer may take."""

    def __init__(self, endpoint: str, ratio: float, service: str, instance: str) -> None:
        """`endpoint`: the collector's base address; spans are posted to `/v1/traces` below it. `ratio`: 0 to 1."""
        session = requests.Session()
        session.max_redirects = 0
        session.trust_env = False  # no proxy that the environment names: the address is what is spoken to
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_SECONDS, session=session)
        resource = {"service.name": service, "service.instance.id": instance, "service.version": version("headrace")}
        self._provider = TracerProvider(
            # The whole of it: a trace that comes from elsewhere is taken or left by the same share.
            sampler=TraceIdRatioBased(ratio),
            resource=Resource(resource),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_attributes=32, max_links=MOST, max_events=8, max_attribute_length=256),
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=QUEUE,
                schedule_delay_millis=_EVERY_MILLIS,
                max_export_batch_size=_EACH,
                export_timeout_millis=_SECONDS * 1_000,
            )
        )
        self._tracer = self._provider.get_tracer("headrace", version("headrace"))

    @contextmanager
    def span(
        self, name: str, *, parent: bytes | None = None, attributes: Attributes | None = None
    ) -> Iterator[OtlpSpan]:
        context = None if parent is None else trace.set_span_in_context(NonRecordingSpan(_context(parent)), Context())
        found = self._tracer.start_span(name, context, attributes=attributes)
        try:
            with trace.use_span(found, record_exception=False, set_status_on_exception=False):
                yield OtlpSpan(found)
        except BaseException as error:
            _fail(found, error)
            raise
        finally:
            found.end()

    @contextmanager
    def call(self, name: str, attributes: Attributes | None = None) -> Iterator[None]:
        if self.ids() is None:
            yield
            return
        found = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        try:
            with trace.use_span(found, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            _fail(found, error)
            raise
        finally:
            found.end()

    @contextmanager
    def batch(
        self, name: str, parents: Sequence[bytes], attributes: Attributes | None = None
    ) -> Iterator[Mapping[bytes, bytes]]:
        known = list(dict.fromkeys(parents))[:MOST]
        spans: dict[bytes, trace.Span] = {}
        first: Link | None = None
        for parent in known:
            within = trace.set_span_in_context(NonRecordingSpan(_context(parent)), Context())
            links = () if first is None else (first,)
            span = self._tracer.start_span(name, within, links=links, attributes=attributes)
            spans[parent] = span
            first = first or Link(span.get_span_context())
        try:
            onward = {parent: found for parent, span in spans.items() if (found := _header(span.get_span_context()))}
            first_span = next(iter(spans.values()), trace.INVALID_SPAN)
            with trace.use_span(first_span, record_exception=False, set_status_on_exception=False):
                yield onward
        except BaseException as error:
            for span in spans.values():
                _fail(span, error)
            raise
        finally:
            for span in spans.values():
                span.end()

    def ids(self) -> tuple[str, str] | None:
        found = trace.get_current_span().get_span_context()
        if not found.is_valid or not found.trace_flags.sampled:
            return None
        return f"{found.trace_id:032x}", f"{found.span_id:016x}"

    def close(self) -> None:
        """Blocks; at most for the time that two answers may take."""
        self._provider.force_flush(int(_SECONDS * 1_000))
        self._provider.shutdown()


def _fail(span: trace.Span, error: BaseException) -> None:
    """By its kind alone: what an error says may be about somebody."""
    span.set_status(Status(StatusCode.ERROR, type(error).__name__))


def _header(context: SpanContext) -> bytes | None:
    if not context.trace_flags.sampled:
        return None
    return b"00-%032x-%016x-01" % (context.trace_id, context.span_id)


def _context(header: bytes) -> SpanContext:
    """Of a header that `schemas.tracing` let pass."""
    return SpanContext(int(header[3:35], 16), int(header[36:52], 16), True, TraceFlags(TraceFlags.SAMPLED))
