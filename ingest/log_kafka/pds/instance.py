"""Being the one process that stands for a PDS's name: registered in the `pds` topic, fenced by its transactional id.

Fencing alone does not say who was replaced: a broker that was away for longer than the transaction timeout fences the
living too. So a start enters itself in its first transaction, before it answers anybody, and who finds another there
has been replaced. Does not own the topic (`ingest.log_kafka.pds.registry`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.pds.registry import check_domains, read_registry, registration
from ingest.log_kafka.pds.txn import OutcomeUnknownError, Transactions
from schemas.errors import InvariantError

_LOOKS, _LOOK_SECONDS = 4, 0.5


class ReplacedError(InvariantError):
    """Another process has this PDS's name: this one must not answer for it again."""


class Instance:
    """One life of a PDS of a name."""

    def __init__(self, settings: KafkaSettings, name: str, txns: Transactions) -> None:
        self._settings = settings
        self._name = name
        self._txns = txns
        self._id = secrets.token_hex(8)

    async def register(self, domains: Sequence[str], host: str = "") -> None:
        """Fence the former one, and enter this one with the handle domains that it hands out and its address's host.

        Raises InvariantError when another PDS owns one of them, ReplacedError when another process starts meanwhile.
        """
        await self._txns.start()
        registry = await read_registry(self._settings)
        check_domains(registry, self._name, domains)
        try:
            await self._txns.commit(registration(registry, self._name, self._id, domains, host), "", {})
        except OutcomeUnknownError as error:
            raise ReplacedError(
                f"PDS {self._name!r}: expected to enter itself in the log, found {error}: is another process of this "
                "name starting? Run one, and start it again"
            ) from error
        registry = await read_registry(self._settings)
        check_domains(registry, self._name, domains)
        self._check(registry.instances)

    async def restart(self, *, polite: bool) -> None:
        """Start the producer again, if nobody has taken this name: looked up before, not to fence them, and after.

        `polite`: give a replacement that has just fenced us the time to enter itself. One that has not when we fence it
        has answered nobody, and ends. Raises ReplacedError.
        """
        for _ in range(_LOOKS if polite else 1):
            self._check((await read_registry(self._settings)).instances)
            if polite:
                await asyncio.sleep(_LOOK_SECONDS)
        await self._txns.start()
        self._check((await read_registry(self._settings)).instances)

    def _check(self, instances: Mapping[str, str]) -> None:
        found = instances.get(self._name)
        if found != self._id:
            raise ReplacedError(
                f"PDS {self._name!r}: expected instance {self._id} in the log, found {found}: another process has this "
                "name and this one has ended; give each PDS its own name (pds_name)"
            )
