"""That compaction was given back: it is held while a generation is built, and who dies on the way may leave it held.

Changes nothing; a processor gives it back (`headrace.upkeep_cluster`). Does not own when it is held.
"""

from __future__ import annotations

from headrace.doctor.finding import WrongError
from headrace.settings import Settings
from headrace.wiring.cluster import kafka_settings
from headrace.wiring.store import cql_settings
from ingest.log_kafka.reach import AWAY
from ingest.log_kafka.topics import compaction_held
from views.cql.session import CqlSession
from views.generations_scylla import CqlRegistry
from views.store_scylla import StoreUnavailableError


async def given_back(settings: Settings) -> str:
    """Compaction works, or is held for a generation that is being built. Raises InvariantError."""
    try:
        if not await compaction_held(kafka_settings(settings), settings.shards):
            return "compaction works"
    except AWAY as error:
        raise WrongError(f"expected the broker to tell how topics are kept, found {error!r}: try again") from error
    cql = cql_settings(settings)
    session = await CqlSession.connect(cql)
    try:
        building = [each.name for each in await CqlRegistry(session, cql).all() if each.state == "building"]
    except StoreUnavailableError as error:
        raise WrongError(f"expected the store to answer, found {error}: look at its nodes (nodetool status)") from error
    finally:
        await session.close()
    if not building:
        raise WrongError(
            "compaction is held and nothing is being built, expected it to work: a build died on the way;"
            " a processor gives it back within five minutes (headrace process)"
        )
    return f"compaction is held while {', '.join(building)} is being built"
