"""A write through a cluster is one trace, from the PDS's request to the lane that indexes it."""

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
]


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


def path_of(spans: list[Span], end: Span) -> list[Span]:
    """From its beginning to `end`, by parents."""
    by_id = {span.id: span for span in spans}
    found = [end]
    while found[-1].parent:
        found.append(by_id[found[-1].parent])
    return found[::-1]


async def test_a_write_is_one_trace_through_every_role(cluster: RolesCluster, here: Collector) -> None:
    signup = {"handle": "alice.test", "email": "a@example.org", "password": "a pass phrase"}
    account = call(cluster["pds"].url, "com.atproto.server.createAccount", signup)
    record = {"$type": "app.bsky.feed.post", "text": "hi", "createdAt": "2026-01-01T00:00:00Z"}
    post = {"repo": account["did"], "collection": "app.bsky.feed.post", "record": record}
    call(cluster["pds"].url, "com.atproto.repo.createRecord", post, account["accessJwt"])

    def whole(spans: list[Span]) -> bool:
        traces = {span.trace for span in spans if span.name == CREATE}
        return any(span.trace in traces and span.name == "lane records" for span in spans)

    spans = here.wait(whole)
    (request,) = [span for span in spans if span.name == CREATE]
    (lane,) = [span for span in spans if span.trace == request.trace and span.name == "lane records"]
    lines = [json.loads(line) for line in cluster["pds"].log.read_text().splitlines() if line.startswith("{")]
    (line,) = [each for each in lines if each.get("nsid") == "com.atproto.repo.createRecord"]
    headers = await headers_of(cluster)

    path = path_of([span for span in spans if span.trace == request.trace], lane)
    assert [(span.service, span.name) for span in path] == PATH
    assert (line["trace_id"], line["span_id"]) == (request.trace, request.id)
    # What the lane's message carries is the span of derive.
    assert f"00-{request.trace}-{path[2].id}-01".encode() in headers


async def headers_of(cluster: RolesCluster) -> list[bytes]:
    """The contexts in `records`."""
    settings = KafkaSettings(servers=cluster.settings["kafka_servers"], cluster=cluster.settings["cluster"])
    consumer = new_consumer(settings, settings.topic("records"))
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
