"""The clock of this machine beside others': the store's, the did:plc directory's, whoever wrote to the log last.

Kafka tells no time of its own: an entry has that of who wrote it, which is a lower bound. Changes nothing.
"""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime

import aiohttp

from headrace.doctor.finding import WrongError
from headrace.settings import Settings
from headrace.wiring.cluster import kafka_settings
from headrace.wiring.store import cql_settings
from ingest.log_kafka.reach import AWAY
from ingest.log_kafka.reader import PartitionReader
from schemas.topics import COMMITS
from views.cql.session import CqlSession

APART = 5.0  # seconds; service tokens live for 60, and what is measured by HTTP is known to a second
_SECONDS = 5.0
_NEWEST = 64  # offsets at a shard's end: markers of transactions are among them
_CURE = "set the clocks: chronyc tracking or timedatectl on each machine says which of them is synchronised"


async def store(settings: Settings) -> str:
    """Of the node that answers. Raises WrongError, InvariantError, StoreUnavailableError."""
    session = await CqlSession.connect(cql_settings(settings))
    try:
        before = time.time()
        rows = await session.admin("SELECT toUnixTimestamp(now()) FROM system.local")
        return judged("the store's", rows[0][0] / 1_000, before, time.time())
    finally:
        await session.close()


async def directory(url: str) -> str:
    """Of the did:plc directory, by its header Date. Raises WrongError."""
    before = time.time()
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session,
            session.get(f"{url.rstrip('/')}/_health", allow_redirects=False) as answer,
        ):
            said = answer.headers.get("Date")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise WrongError(f"{url}: expected an answer, found {error or 'none'}: check plc_url") from error
    try:
        theirs = parsedate_to_datetime(said or "").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return f"{url} does not say what time it is"
    # It is cut to the second.
    return judged("the did:plc directory's", theirs, before - 1, time.time())


async def log(settings: Settings) -> str:
    """Nothing in `commits` is of a time to come. Raises WrongError."""
    newest = 0.0
    for shard in range(settings.shards):
        reader = PartitionReader(kafka_settings(settings), COMMITS, shard)
        try:
            begin, end = await reader.bounds()
            for message in await reader.read(max(begin, end - _NEWEST), _NEWEST):
                newest = max(newest, message.timestamp / 1_000)
        except AWAY as error:
            raise WrongError(
                f"expected to read the end of {COMMITS}[{shard}], found {error!r}: look at the broker's log, and"
                " whether the user may read it"
            ) from error
        finally:
            await reader.close()
    if newest > time.time() + APART:
        raise WrongError(
            f"this clock is {newest - time.time():.1f} s behind the newest entry of {COMMITS}, expected at most"
            f" {APART:g} s: {_CURE}"
        )
    return f"not behind the newest entry of {COMMITS}" if newest else f"{COMMITS} has no entry at its end"


def judged(whose: str, theirs: float, before: float, after: float) -> str:
    """`theirs` was read between `before` and `after` by this clock, unix seconds. Raises WrongError."""
    apart = theirs - before if theirs < before else max(0.0, theirs - after)
    if abs(apart) > APART:
        raise WrongError(
            f"this clock is {abs(apart):.1f} s {'behind' if apart > 0 else 'ahead of'} {whose}, expected at most"
            f" {APART:g} s: {_CURE}"
        )
    return f"within {max(abs(apart), after - before):.2f} s of {whose}"
