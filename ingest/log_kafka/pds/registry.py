"""The `pds` topic: which process a PDS's name stands for, and which PDS hands out the handles under a domain.

Two kinds of key, both compacted; values are JSON:
- `instance/NAME`: {"instance": ID, "host": HOST}, written by each start in its first transaction, so that who was
  replaced can tell, and that relays know whom not to read.
- `domain/DOMAIN/NAME`: a claim, written once and never again, so that its offset stays: the smallest one owns the
  domain. Handles under it are made by that PDS alone, which is why they are unique (docs/decisions/0011).
Checkpoints are offsets of groups of the same names. Does not own who may take which handle (`ingest.pds.handles`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import orjson

from ingest.log_kafka.client import KafkaSettings, new_admin
from ingest.log_kafka.pds.read import ShardReader
from ingest.log_kafka.pds.txn import Outgoing
from schemas.errors import InvariantError
from schemas.topics import PDS


class Registry(msgspec.Struct, frozen=True):
    """`instances` and `hosts` by name; `claims` by domain: the names that claim it, its owner first."""

    instances: dict[str, str]
    claims: dict[str, tuple[str, ...]]
    hosts: dict[str, str]
    """As in the accounts' DID documents: host or host:port, in lower case."""


async def read_registry(settings: KafkaSettings) -> Registry:
    """As it stands now. Raises LogAwayError, KafkaError."""
    async with ShardReader(settings, PDS, 1) as reader:
        (begin,), (end,) = await reader.begins(), await reader.ends()
        newest: dict[str, tuple[int, bytes | None]] = {}
        async for page in reader.read(0, begin, end):
            newest.update(((m.key or b"").decode(), (m.offset, m.value)) for m in page)
    instances: dict[str, str] = {}
    hosts: dict[str, str] = {}
    claims: dict[str, list[tuple[int, str]]] = {}
    for key, (offset, value) in newest.items():
        kind, _, rest = key.partition("/")
        if value is None:
            continue
        if kind == "instance":
            said = orjson.loads(value)
            instances[rest] = said["instance"]
            hosts.update({rest: said["host"]} if said.get("host") else {})
        elif kind == "domain":
            domain, _, name = rest.partition("/")
            claims.setdefault(domain, []).append((offset, name))
    owners = {domain: tuple(name for _, name in sorted(found)) for domain, found in claims.items()}
    return Registry(instances, owners, hosts)


def checkpoint_group(settings: KafkaSettings, name: str) -> str:
    """The group whose offsets are a PDS's checkpoints."""
    return f"{settings.cluster}.pds.{name}"


async def read_checkpoints(settings: KafkaSettings, shards: int) -> dict[str, dict[int, int]]:
    """By PDS and shard, the offset of `commits` that it is complete to; 0 where it has told none: it needs all."""
    names = (await read_registry(settings)).instances
    admin = new_admin(settings)
    try:
        await admin.start()
        found: dict[str, dict[int, int]] = {}
        for name in names:
            told = await admin.list_consumer_group_offsets(checkpoint_group(settings, name))
            places = {part.partition: place.offset for part, place in told.items()}
            found[name] = {shard: max(0, places.get(shard, 0)) for shard in range(shards)}
        return found
    finally:
        await admin.close()


def registration(
    registry: Registry, name: str, instance: str, domains: Sequence[str], host: str = ""
) -> list[Outgoing]:
    """What a start writes: who it is, and the claims that are not there yet."""
    said = orjson.dumps({"instance": instance, "host": host.lower()})
    messages = [Outgoing(PDS, 0, f"instance/{name}".encode(), said)]
    claims = [domain for domain in domains if name not in registry.claims.get(domain, ())]
    return messages + [Outgoing(PDS, 0, f"domain/{domain}/{name}".encode(), b"{}") for domain in claims]


def check_domains(registry: Registry, name: str, domains: Sequence[str]) -> None:
    """Raises InvariantError when another PDS owns one of them."""
    for domain in domains:
        owner, *_ = registry.claims.get(domain, (name,))
        if owner != name:
            raise InvariantError(
                f"PDS {name!r}: expected to hand out handles under {domain!r}, found that PDS {owner!r} does: give "
                "each PDS handle domains of its own (handle_domains)"
            )
