"""A collector of OpenTelemetry for tests: takes spans over HTTP, as protobuf, in a thread of its own."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_SECONDS = 120.0  # until spans that are sent every second are here, on a loaded machine


class Span(NamedTuple):
    service: str
    name: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    failed: bool
    about: dict[str, Any]


class Collector:
    """`address` is its base; `posts` are the paths that were posted to."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.spans: list[Span] = []
        self.posts: list[str] = []
        self._news = threading.Condition()

    def take(self, path: str, body: bytes) -> None:
        found = ExportTraceServiceRequest()
        found.ParseFromString(body)
        with self._news:
            self.posts.append(path)
            for group in found.resource_spans:
                of = {each.key: each.value.string_value for each in group.resource.attributes}
                for scope in group.scope_spans:
                    self.spans += [_span(of["service.name"], each) for each in scope.spans]
            self._news.notify_all()

    def wait(self, done: Callable[[list[Span]], bool]) -> list[Span]:
        """Until what is here satisfies; AssertionError with what is here."""
        with self._news:
            if not self._news.wait_for(lambda: done(self.spans), _SECONDS):
                raise AssertionError(f"the spans that came: {self.spans}")
            return list(self.spans)


def _span(service: str, span: Any) -> Span:
    about = {each.key: each.value.string_value or each.value.int_value for each in span.attributes}
    links = tuple(link.span_id.hex() for link in span.links)
    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
    return Span(service, span.name, *ids, links, span.status.code == 2, about)


@contextmanager
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            here.take(self.path, gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    here = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
