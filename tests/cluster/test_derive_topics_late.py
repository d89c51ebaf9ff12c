"""A broker that made a topic a moment ago and, asked again, does not know it yet: it is asked until it does."""

from __future__ import annotations

import pytest
from aiokafka.errors import UnknownTopicOrPartitionError

from ingest.log_kafka import topics
from ingest.log_kafka.client import KafkaSettings
from tests.support.kafka_log import drop_topics

pytestmark = [pytest.mark.cluster]


@pytest.mark.parametrize("late", ["_configs", "_described"])
async def test_a_topic_that_is_not_known_yet_is_waited_for(
    late: str, kafka_servers: str, cluster_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = KafkaSettings(servers=kafka_servers, cluster=f"{cluster_name}{late}")
    await topics.ensure_topics(settings, 1)
    ask, asked = getattr(topics, late), 0

    async def forgetful(*arguments):
        nonlocal asked
        asked += 1
        # _ensure itself asks once what is missing; the check that follows is the one that comes too early.
        if late == "_configs" and asked == 1:
            raise UnknownTopicOrPartitionError("not yet")
        found = await ask(*arguments)
        return {} if late == "_described" and asked == 2 else found

    monkeypatch.setattr(topics, late, forgetful)

    await topics.ensure_topics(settings, 1)

    assert asked >= 2
    monkeypatch.undo()
    await drop_topics(settings)
