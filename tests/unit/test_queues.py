"""How full the bounded queues of a process are, as its metrics say it."""

from __future__ import annotations

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from headrace.running import Running


async def test_queues_are_shown_with_their_limits_under_one_name_each() -> None:
    running = Running()
    waiting = {"log": 3}
    running.queue("log", lambda: waiting["log"], 10)
    running.queue("relay_under_way", lambda: 7, 9)
    running.queue("relay_under_way", lambda: 70, 90, "bytes")
    waiting["log"] = 4

    page = generate_latest(running.registry).decode()
    found = {
        (sample.name, sample.labels["queue"]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    await running.close()

    assert found == {
        ("headrace_queue_entries", "log"): 4,
        ("headrace_queue_limit_entries", "log"): 10,
        ("headrace_queue_entries", "relay_under_way"): 7,
        ("headrace_queue_limit_entries", "relay_under_way"): 9,
        ("headrace_queue_bytes", "relay_under_way"): 70,
        ("headrace_queue_limit_bytes", "relay_under_way"): 90,
    }
    assert page.count("# TYPE headrace_queue_entries ") == 1


async def test_a_process_without_queues_shows_none() -> None:
    running = Running()
    page = generate_latest(running.registry).decode()
    await running.close()

    assert "headrace_queue" not in page
