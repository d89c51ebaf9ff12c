"""Traces: what is sampled, what goes along, what is refused; against a collector that decodes what it is sent."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from api.traced import traced
from headrace.tracing import OtlpTracer
from schemas import tracing
from schemas.tracing import FRESH_MILLIS, HEADER, parent_of, valid
from tests.support.otlp import Collector, collector

PARENT = b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01"
OTHER = b"00-" + b"12" * 16 + b"-" + b"34" * 8 + b"-01"


@pytest.fixture
def here() -> Iterator[Collector]:
    with collector() as found:
        yield found


def tracer_to(here: Collector, share: float = 1.0) -> OtlpTracer:
    return OtlpTracer(here.address, share, "headrace-test", "i")


def test_spans_lie_in_each_other_and_arrive_where_they_are_sent(here: Collector) -> None:
    tracer = tracer_to(here)
    with tracer.span("outer", attributes={"n": 1}) as outer:
        ids = tracer.ids()
        with tracer.span("inner") as inner:
            inner.note("status", 200)
    tracer.close()

    inner_seen, outer_seen = here.spans
    assert here.posts == ["/v1/traces"]
    assert (outer_seen.name, outer_seen.parent, outer_seen.about) == ("outer", "", {"n": 1})
    assert (inner_seen.name, inner_seen.parent, inner_seen.about) == ("inner", outer_seen.id, {"status": 200})
    assert (outer_seen.trace, outer_seen.id) == ids
    assert outer.header == f"00-{outer_seen.trace}-{outer_seen.id}-01".encode()
    assert tracer.ids() is None


def test_a_call_lies_in_what_is_looked_at_and_begins_nothing_by_itself(here: Collector) -> None:
    tracer = tracer_to(here)
    with tracer.call("nobody asked"):
        assert tracer.ids() is None
    with tracer.batch("lane", [PARENT]), pytest.raises(ValueError, match="secret"), tracer.call("cql read", {"n": 2}):
        raise ValueError("a secret")
    tracer.close()

    called, lane = here.spans
    assert (called.name, called.parent, called.failed, called.about) == ("cql read", lane.id, True, {"n": 2})
    assert (lane.name, lane.failed) == ("lane", False)
    assert "secret" not in str(here.spans)


def test_without_a_tracer_a_call_is_nothing() -> None:
    assert tracing.TRACER is None
    with tracing.call("cql read", {"n": 2}) as found:
        assert found is None


def test_a_batch_goes_on_with_each_of_its_traces_and_links_them(here: Collector) -> None:
    tracer = tracer_to(here)
    with tracer.batch("derive", [PARENT, OTHER, PARENT], {"n": 3}) as onward:
        within = tracer.ids()
    tracer.close()

    first, second = here.spans
    assert [(each.trace, each.parent) for each in here.spans] == [("ab" * 16, "cd" * 8), ("12" * 16, "34" * 8)]
    assert (first.links, second.links) == ((), (first.id,))
    assert onward == {
        PARENT: f"00-{first.trace}-{first.id}-01".encode(),
        OTHER: f"00-{second.trace}-{second.id}-01".encode(),
    }
    assert within == (first.trace, first.id)


def test_a_batch_of_very_many_goes_on_with_a_few(here: Collector) -> None:
    tracer = tracer_to(here)
    parents = [b"00-%032x-%016x-01" % (number, number) for number in range(1, 2 * tracing.MOST)]
    with tracer.batch("derive", parents) as onward:
        pass
    tracer.close()

    assert len(onward) == len(here.spans) == tracing.MOST


def test_an_error_is_said_by_its_kind_alone_and_passes(here: Collector) -> None:
    tracer = tracer_to(here)
    with pytest.raises(ValueError, match="secret"), tracer.span("one"):
        raise ValueError("a secret")
    with pytest.raises(asyncio.CancelledError), tracer.batch("two", [PARENT]):
        raise asyncio.CancelledError
    tracer.close()

    assert [(each.name, each.failed) for each in here.spans] == [("one", True), ("two", True)]
    assert "secret" not in str(here.spans)


def test_what_is_not_sampled_leaves_no_trace(here: Collector) -> None:
    tracer = tracer_to(here, share=0.0)
    with tracer.span("one") as span, tracer.batch("two", [PARENT]) as onward:
        assert (span.header, tracer.ids(), onward) == (None, None, {})
    tracer.close()

    assert here.spans == []


def test_processes_with_one_share_take_the_same_traces(here: Collector) -> None:
    first, second = tracer_to(here, share=0.5), tracer_to(here, share=0.5)
    taken = 0
    for _ in range(100):
        with first.span("begin") as span:
            header = span.header
        if header is not None:
            taken += 1
            with second.batch("go on", [header]) as onward:
                assert set(onward) == {header}
    first.close()
    second.close()

    assert 10 < taken < 90
    assert len({span.trace for span in here.spans}) == taken


def test_a_collector_that_is_away_holds_nothing_up() -> None:
    with collector() as gone:
        address = gone.address
    tracer = OtlpTracer(address, 1.0, "headrace-test", "i")
    for _ in range(5_000):  # more than wait
        with tracer.span("one"):
            pass
    tracer.close()

    assert tracer.ids() is None


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"00", PARENT[:-2] + b"00", b"01" + PARENT[2:], PARENT + b"-x", PARENT.upper()),
        b"00-" + b"0" * 32 + PARENT[35:],
        PARENT[:36] + b"0" * 16 + b"-01",
    ],
)
def test_a_context_that_is_none_or_is_not_sampled_is_passed_over(value: bytes) -> None:
    assert valid(value.decode()) is None
    assert parent_of([("pds", b"x"), (HEADER, value)], 0, 0) is None


def test_a_context_is_found_among_headers_while_it_is_fresh() -> None:
    headers = [("pds", b"x"), (HEADER, PARENT)]

    assert valid(PARENT.decode()) == parent_of(headers, 0, 10**12) == PARENT
    assert parent_of(headers, 10**12, 10**12 + FRESH_MILLIS - 1) == PARENT
    assert parent_of(headers, 10**12, 10**12 + FRESH_MILLIS) is None
    assert parent_of([], 0, 0) is None


def test_a_header_without_a_value_is_no_context() -> None:
    assert parent_of([(HEADER, None)], 0, 0) is None


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_caller_is_believed_where_the_operator_says_so(*, trusted: bool, here: Collector) -> None:
    tracer = tracer_to(here)

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=403)

    handle = traced(answer, tracer, {"a.b.c"}, trust_callers=trusted)
    for path in ("/xrpc/a.b.c", "/xrpc/no.such.thing"):
        await handle(make_mocked_request("GET", path, headers={HEADER: PARENT.decode()}))
    await asyncio.to_thread(tracer.close)

    (span,) = here.spans
    assert (span.name, span.about["http.response.status_code"]) == ("xrpc a.b.c", 403)
    assert (span.trace == "ab" * 16, span.parent == "cd" * 8) == (trusted, trusted)


def test_without_a_collector_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys\n"
        "from headrace.wiring import embedded, pds, derive, process\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
