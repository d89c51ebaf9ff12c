"""The Faust app of the processors: what it is told to leave alone, and a consumer of ours in it.

What faust-streaming 0.15 may not be trusted with is switched off here: it declares no topics, keeps no tables and no
directory, pickles nothing, serves nothing over HTTP and commits nothing by itself. Its consumer is our own, so that it
reads what is committed alone. Does not own what events are fed to, nor where a shard begins (`run_faust.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP

from ingest.log_kafka.client import KafkaSettings, new_consumer, tls

_NEVER_SECONDS = 365 * 86_400.0


class _Thread(AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Transport) -> AIOKafkaConsumer:  # noqa: ARG002 - Faust's own
        """Faust's would read what is not committed, outside of its own transactions."""
        app: Any = self.app
        return new_consumer(app.kafka, group=app.conf.id)

    async def seek_saved(self, tp: TP, position: int) -> None:
        self._ensure_consumer().seek(TopicPartition(tp.topic, tp.partition), position)

    async def commit_saved(self, offsets: dict[TopicPartition, int]) -> None:
        consumer = self._ensure_consumer()
        mine = consumer.assignment()
        if offsets := {tp: offset for tp, offset in offsets.items() if tp in mine}:
            await consumer.commit(offsets)


class _NoOffsets(dict[TP, int | None]):
    """Faust leaves out what lies below the newest event, and notes that one even after a seek: here, nothing."""

    def __getitem__(self, tp: TP) -> int | None:
        return None


class _Consumer(Consumer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NoOffsets()

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def seek_saved(self, tp: TP, position: int) -> None:
        """In the consumer's own thread."""
        thread: Any = self._thread
        await thread.call_thread(thread.seek_saved, tp, position)

    async def commit_saved(self, offsets: dict[TopicPartition, int]) -> None:
        thread: Any = self._thread
        await thread.call_thread(thread.commit_saved, offsets)


class _Transport(Transport):
    Consumer = _Consumer


class _App(faust.App):
    kafka: KafkaSettings

    def _new_transport(self) -> _Transport:
        return _Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """It has nothing to keep."""


def _credentials(kafka: KafkaSettings) -> Credentials | None:
    """For the producer that Faust starts and nothing sends by."""
    context = tls(kafka)
    if kafka.security.startswith("SASL"):
        return SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password,
            ssl_context=context,
            mechanism=kafka.sasl_mechanism or "PLAIN",
        )
    return None if context is None else SSLCredentials(context)


def build_app(
    kafka: KafkaSettings,
    group: str,
    topics: Sequence[str],
    feed: Callable[[Any], Any],
) -> faust.App:
    """An app whose agents, one a topic, do nothing but feed; it declares, serves and commits nothing."""
    app = _App(
        group,
        broker=f"kafka://{kafka.servers.replace(',', ';kafka://')}",
        broker_credentials=_credentials(kafka),
        broker_commit_every=2**62,
        broker_commit_interval=_NEVER_SECONDS,
        broker_commit_livelock_soft_timeout=_NEVER_SECONDS,
        broker_session_timeout=kafka.session_timeout_ms / 1000,
        broker_heartbeat_interval=kafka.heartbeat_ms / 1000,
        consumer_auto_offset_reset="earliest",
        key_serializer="raw",
        value_serializer="raw",
        processing_guarantee="at_least_once",
        store="memory://",
        stream_processing_timeout=_NEVER_SECONDS,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        web_tables_enabled=False,
        worker_redirect_stdouts=False,
    )
    app.kafka = kafka
    for name in topics:
        topic = app.topic(name, key_serializer="raw", value_serializer="raw", allow_empty=True)
        app.agent(topic, name=f"feed-{name}")(_agent(feed))
    return app


def _agent(feed: Callable[[Any], Any]) -> Callable[[Any], Any]:
    async def agent(stream: Any) -> None:
        await feed(stream)

    return agent
