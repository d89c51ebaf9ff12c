"""A write through a cluster is one trace: from the PDS's request to the lanes that index it, fold it and fan it out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.log_kafka.client import KafkaSettings, new_consumer
from schemas.tracing import HEADER
from tests.scenarios.test_tracing import call
from tests.support.otlp import Collector, Span, collector
from tests.support.roles import RolesCluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]  # four processes are started
CREATE = "xrpc com.atproto.repo.createRecord"
PATH = [
    ("headrace-pds", CREATE),
    ("headrace-pds", "append commits"),
    ("headrace-derive", "derive"),
    ("headrace-process", "lane records"),
    ("headrace-process", "lane edges"),
    ("headrace-process", "lane fanout"),
]
# By the span that waits for broker or store, what it waits for at least.
CALLS = {
    "append commits": {"kafka transaction"},
    "derive": {"kafka transaction"},
    "lane records": {"kafka send", "cql write"},
    "lane edges": {"kafka send", "cql read", "cql write"},
    "lane fanout": {"cql write"},
}


@pytest.fixture
def here() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture
def cluster(
    tmp_path: Path, kafka_servers: str, cql_address: tuple[str, int], cluster_name: str, here: Collector
) -> Iterator[RolesCluster]:
    traced = {"otlp_endpoint": here.address, "otlp_share": "1", "otlp_trust_callers": "true", "log_level": "debug"}
    made = RolesCluster(tmp_path, kafka_servers, cql_address, cluster_name, runner="plain", **traced)
    try:
        plc, derive, process = (made.role(name).begin() for name in ("plc", "derive", "process"))
        for role in (plc, derive, process):
            role.await_ready()
        made.role("pds", plc_url=plc.addresses["plc"]).start()
        yield made
    finally:
        made.kill()
        made.drop()


class Trace:
    """All spans of one."""

    def __init__(self, spans: list[Span], id_: str) -> None:
        self.spans = [span for span in spans if span.trace == id_]

    def named(self, name: str) -> Span | None:
        return next((span for span in self.spans if span.name == name), None)

    def path(self, name: str) -> list[Span]:
        """From the beginning to the first of this name, by parents, as far as they have come."""
        by_id = {span.id: span for span in self.spans}
        found, last = [], self.named(name)
        while last is not None:
            found.append(last)
            last = by_id.get(last.parent)
        return found[::-1]

    def calls(self) -> dict[str, set[str]]:
        """What lies in each of those that are expected to wait."""
        waiting = {span.id: span.name for span in self.spans if span.name in CALLS}
        found: dict[str, set[str]] = {name: set() for name in CALLS}
        for span in self.spans:
            if span.parent in waiting and span.name.startswith(("kafka ", "cql ")):
                found[waiting[span.parent]].add(span.name)
        return found


def asked(spans: list[Span]) -> list[str]:
    """The traces of requests that write a record, the oldest first."""
    return [span.trace for span in spans if span.name == CREATE]


async def test_a_write_is_one_trace_through_every_role(cluster: RolesCluster, here: Collector) -> None:
    """A post of somebody who is followed: it goes on to the shards of its author and of its readers."""
    url, at = cluster["pds"].url, "2026-01-01T00:00:00Z"
    sign_up = [
        {"handle": f"{name}.test", "email": f"{name}@example.org", "password": "a pass phrase"}
        for name in ("alice", "robert")
    ]
    author, reader = (call(url, "com.atproto.server.createAccount", each) for each in sign_up)
    follow = {"$type": "app.bsky.graph.follow", "subject": author["did"], "createdAt": at}
    following = {"repo": reader["did"], "collection": "app.bsky.graph.follow", "record": follow}
    call(url, "com.atproto.repo.createRecord", following, reader["accessJwt"])
    here.wait(lambda spans: any(Trace(spans, each).named("lane edges") for each in asked(spans)))
    record = {"$type": "app.bsky.feed.post", "text": "hi", "createdAt": at}
    post = {"repo": author["did"], "collection": "app.bsky.feed.post", "record": record}
    call(url, "com.atproto.repo.createRecord", post, author["accessJwt"])

    def of_the_post(spans: list[Span]) -> Trace:
        return Trace(spans, next((each for each in asked(spans) if Trace(spans, each).named("lane fanout")), ""))

    def whole(spans: list[Span]) -> bool:
        trace = of_the_post(spans)
        return len(trace.path("lane fanout")) == len(PATH) and all(
            expected <= trace.calls()[name] for name, expected in CALLS.items()
        )

    trace = of_the_post(here.wait(whole))
    path = trace.path("lane fanout")
    lines = [json.loads(line) for line in cluster["pds"].log.read_text().splitlines() if line.startswith("{")]
    headers = {topic: await headers_of(cluster, topic) for topic in ("records", "edges.g1", "fanout.g1")}

    assert [(span.service, span.name) for span in path] == PATH
    said = {
        (line["trace_id"], line["span_id"]) for line in lines if line.get("nsid") == "com.atproto.repo.createRecord"
    }
    assert (path[0].trace, path[0].id) in said
    # What a lane's message carries is the span that it follows from.
    for topic, span in zip(headers, path[2:], strict=False):
        assert f"00-{span.trace}-{span.id}-01".encode() in headers[topic], topic


async def headers_of(cluster: RolesCluster, topic: str) -> list[bytes]:
    """The contexts that its messages carry."""
    settings = KafkaSettings(servers=cluster.settings["kafka_servers"], cluster=cluster.settings["cluster"])
    consumer = new_consumer(settings, settings.topic(topic))
    await consumer.start()
    try:
        found = []
        for partition in consumer.assignment():
            end = (await consumer.end_offsets([partition]))[partition]
            while await consumer.position(partition) < end:
                got = await consumer.getmany(partition, timeout_ms=200)
                for message in got.get(partition, ()):
                    found += [value for name, value in message.headers if name == HEADER]
        return found
    finally:
        await consumer.stop()
