"""What the broker is asked, timed by kind of request: one place sees the requests of producers and of consumers.

A request carries a batch, so this costs nothing for a message. Of `fetch` the time is also what the broker holds an
answer back while there is no news; of `group` what it waits for other members. An answer that says no is an answer.
Does not own who asks.
"""

from __future__ import annotations

from typing import Any, Final

from aiokafka.client import AIOKafkaClient

from schemas.timings import Timings

KINDS: Final = ("produce", "fetch", "commit", "group", "other")
_OF: Final = {
    "Produce": "produce",
    "Fetch": "fetch",
    "EndTxn": "commit",
    "TxnOffsetCommit": "commit",
    "OffsetCommit": "commit",
    "JoinGroup": "group",
    "SyncGroup": "group",
    "Heartbeat": "group",
    "LeaveGroup": "group",
}


class Requests:
    """`by_kind` is of all clients that are watched."""

    def __init__(self) -> None:
        self.by_kind = {kind: Timings() for kind in KINDS}
        self._of_type: dict[type, Timings] = {}

    def watch(self, client: AIOKafkaClient) -> None:
        """Time what this client sends from now on."""
        send = client.send

        async def timed(node_id: int, request: Any, **more: Any) -> Any:
            timings = self._of_type.get(type(request)) or self._learn(type(request))
            return await timings.of(send(node_id, request, **more))

        client.send = timed

    def _learn(self, kind: type) -> Timings:
        name = kind.__name__.partition("Request")[0]
        return self._of_type.setdefault(kind, self.by_kind[_OF.get(name, "other")])
