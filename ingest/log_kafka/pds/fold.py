"""What a PDS reads of the log, folded into the heads of its accounts.

- `fold`: entries of `commits` into the heads, by the same verdicts that derive comes to.
- `read_back`: heads of accounts of which this PDS knows nothing, or something wrong, from `records` and from what
  `commits` holds beyond the place that they are derived to.
- `values`: the records of accounts, from `records`, up to their heads.
An entry is of an account that lives here if its head is kept, or if it says that this PDS wrote it.
Does not own the heads' file (`ingest.log_kafka.pds.heads`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from types import MappingProxyType

from ingest.log import Head, LogAwayError, Value
from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.heads import learn
from ingest.log_kafka.pds.heads import OwnHeads
from ingest.log_kafka.pds.read import PATIENCE, Message, ShardReader
from ingest.next_head import next_head
from ingest.verdict import Reject, accept
from schemas.cid import Cid
from schemas.entries import Entry, HeadEntry, RecordEntry
from schemas.entry_codec import decode
from schemas.records_codec import PLACE_KEY, DerivePlace, read
from schemas.syntax import Did
from schemas.topics import COMMITS, RECORDS, shard_of

PDS_HEADER = "pds"
_PAUSE = 0.2
_WAITS = int(PATIENCE / _PAUSE)


def fold(
    heads: OwnHeads, name: str, messages: Iterable[Message], before: Mapping[Did, Head] = MappingProxyType({})
) -> tuple[list[tuple[int, Entry]], dict[Did, Head]]:
    """Our accounts' accepted entries among these, and the heads after them and `before`; stores nothing."""
    mine, accepted, after = name.encode(), list[tuple[int, Entry]](), dict(before)
    for message in messages:
        did = Did((message.key or b"").decode())
        if did not in after and not heads.known(did) and (PDS_HEADER, mine) not in message.headers:
            continue
        entry = decode(message.value or b"")
        found = _judge(after[did] if did in after else heads.get(did), entry)
        if found is not None:
            accepted.append((message.offset, entry))
            after[did] = found
    return accepted, after


def _judge(head: Head | None, entry: Entry) -> Head | None:
    """The head after an entry; None where it is refused, or is none of the account's head."""
    verdict = accept(head, entry)
    return None if isinstance(verdict, Reject) else next_head(head, entry, partial=verdict.partial)


async def read_back(settings: KafkaSettings, shards: int, dids: Collection[Did]) -> dict[Did, Head | None]:
    """The heads of these accounts as the log has them now; None for one that it holds nothing of."""
    found: dict[Did, Head | None] = {}
    async with ShardReader(settings, RECORDS, shards) as records, ShardReader(settings, COMMITS, shards) as commits:
        begins, ends = await records.begins(), await records.ends()
        oldest = await commits.begins()
        for shard, wanted in _by_shard(dids, shards).items():
            heads: dict[Did, Head] = {}
            done = 0
            async for page in records.read(shard, begins[shard], ends[shard]):
                for message in page:
                    if message.key == PLACE_KEY or _did_of(message.key or b"") in wanted:
                        content, state = read(message.key or b"", message.value, message.headers, message.offset)
                        done = content.done if isinstance(content, DerivePlace) else done
                        learn(heads, content, state)
            end = (await commits.ends())[shard]
            async for page in commits.read(shard, max(done, oldest[shard]), end):
                for message in page:
                    if (did := Did((message.key or b"").decode())) in wanted:
                        moved = _judge(heads.get(did), decode(message.value or b""))
                        heads.update({} if moved is None else {did: moved})
            found.update((did, heads.get(did)) for did in wanted)
    return found


async def values(
    settings: KafkaSettings, shards: int, expected: Mapping[Did, Cid | None]
) -> AsyncIterator[list[Value]]:
    """Pages of the records of accounts, each up to the head whose commit is expected.

    Raises LogAwayError when derive does not come to the heads for long.
    """
    async with ShardReader(settings, RECORDS, shards) as reader:
        begins = await reader.begins()
        for shard, wanted in _by_shard(expected, shards).items():
            at, waiting = begins[shard], set(wanted)
            for _ in range(_WAITS):
                end = (await reader.ends())[shard]
                async for page in reader.read(shard, at, end):
                    yield list(_values(page, wanted, expected, waiting))
                at = end
                if not waiting:
                    break
                await asyncio.sleep(_PAUSE)
            else:
                raise LogAwayError("absent", f"records are behind the head of {min(waiting)}; try again later")


def _values(
    page: Iterable[Message], wanted: Collection[Did], expected: Mapping[Did, Cid | None], waiting: set[Did]
) -> Iterable[Value]:
    for message in page:
        if _did_of(message.key or b"") not in wanted:
            continue
        content, _ = read(message.key or b"", message.value, message.headers, message.offset)
        if isinstance(content, RecordEntry):
            yield content.did, f"{content.collection}/{content.rkey}", content.cid, content.value
        elif isinstance(content, HeadEntry) and content.commit == expected[content.did]:
            waiting.discard(content.did)


def _did_of(key: bytes) -> str:
    """The account that a message of `records` is of."""
    return (key[5:].split(b"/", 1)[0] if key.startswith(b"at://") else key.split(b"#", 1)[0]).decode()


def _by_shard(dids: Iterable[Did], shards: int) -> dict[int, set[Did]]:
    found: dict[int, set[Did]] = {}
    for did in dids:
        found.setdefault(shard_of(did, shards), set()).add(did)
    return found
