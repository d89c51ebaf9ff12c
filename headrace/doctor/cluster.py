"""A cluster's broker and store: they answer, and hold what the roles start upon. Changes nothing.

Does not own what topics and tables have to be (`ingest.log_kafka.topics`, `views.cql.schema`).
"""

from __future__ import annotations

import ssl

from headrace.doctor import certificates
from headrace.doctor.finding import WrongError
from headrace.settings import Settings
from headrace.wiring.cluster import kafka_settings
from headrace.wiring.store import TABLES, cql_settings
from ingest.log_kafka import topics as log_kafka_topics
from ingest.log_kafka.client import tls as kafka_tls
from ingest.log_kafka.reach import AWAY, reach
from views.cql import schema as cql_schema
from views.cql.session import CqlSession
from views.cql.settings import tls as cql_tls
from views.generations_scylla import live_in
from views.store_scylla import StoreUnavailableError


def tls_addresses(settings: Settings) -> list[str]:
    """Servers that are spoken to over TLS, as host:port."""
    kafka = settings.kafka_servers if settings.kafka_security.endswith("SSL") else ()
    cql = () if settings.cql_ssl_ca is None else settings.cql_hosts
    return [*kafka, *(f"{host}:{settings.cql_port}" for host in cql)]


async def certificate(settings: Settings, address: str) -> str:
    """What one of `tls_addresses` shows. Raises InvariantError, WrongError."""
    try:
        of_kafka = address in settings.kafka_servers
        context = kafka_tls(kafka_settings(settings)) if of_kafka else cql_tls(cql_settings(settings))
        assert context is not None, "only what is spoken to over TLS is asked"
        return await certificates.shown(address, context)
    except ssl.SSLError as error:
        raise WrongError(
            f"expected certificates and a key that OpenSSL takes in kafka_ssl_ca, kafka_ssl_cert and kafka_ssl_key,"
            f" found {error.reason}: what is said above of each of them"
        ) from error


async def broker(settings: Settings) -> str:
    """A broker answers. Raises InvariantError."""
    await reach(kafka_settings(settings))
    return f"a broker answers at {', '.join(settings.kafka_servers)}"


async def topics(settings: Settings) -> str:
    """The log's topics are as they have to be. Raises InvariantError."""
    try:
        await log_kafka_topics.check_topics(kafka_settings(settings), settings.shards)
    except AWAY as error:
        raise WrongError(
            f"expected the broker to describe topics, found {error!r}: look at its log, and whether the user"
            " may describe topics and their configuration"
        ) from error
    names = log_kafka_topics.topics_of(settings.shards)
    return f"{len(names)} topics of {settings.cluster} are as they have to be"


async def store(settings: Settings) -> str:
    """A node of the store answers. Raises InvariantError."""
    session = await CqlSession.connect(cql_settings(settings))
    await session.close()
    return f"a store answers at {', '.join(settings.cql_hosts)} port {settings.cql_port}"


async def generation(settings: Settings) -> str:
    """A generation is live, and its tables are of this version's shape. Raises InvariantError."""
    cql = cql_settings(settings)
    session = await CqlSession.connect(cql)
    try:
        live = await live_in(session, cql)
        if live is None:
            raise WrongError(
                f"no generation is live in keyspace {cql.keyspace}, expected one: the first processor registers"
                f" {settings.generation} (headrace process), or set cql_keyspace to the one that is meant"
            )
        await cql_schema.ensure(session, cql, live, TABLES, create=False)
    except StoreUnavailableError as error:
        raise WrongError(f"expected the store to answer, found {error}: look at its nodes (nodetool status)") from error
    finally:
        await session.close()
    return f"generation {live} is live, and its {len(TABLES)} tables are there"
