"""How scylla-driver connects: policies, profiles, and which of its errors mean what. Does not own statements."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from cassandra import (
    ConsistencyLevel,
    CoordinationFailure,
    InvalidRequest,
    OperationTimedOut,
    Timeout,
    Unauthorized,
    Unavailable,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.io.libevreactor import LibevConnection
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    FallthroughRetryPolicy,
    LoadBalancingPolicy,
    RoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.protocol import (
    IsBootstrappingErrorMessage,
    OverloadedErrorMessage,
    ServerError,
    SyntaxException,
)
from cassandra.query import named_tuple_factory, tuple_factory

from schemas.errors import InvariantError
from views.cql.settings import CqlSettings, tls

ROWS: Final = "rows"  # answers are tuples; the driver's own questions want names
AGAIN: Final = (
    OperationTimedOut,
    Timeout,
    Unavailable,
    CoordinationFailure,
    NoHostAvailable,
    ConnectionException,
    OverloadedErrorMessage,
    IsBootstrappingErrorMessage,
    ServerError,
)
"""What the store could not say yes to, or what did not reach it."""
OURS: Final = (InvalidRequest, SyntaxException, Unauthorized)
"""What the store refuses, whoever asks again."""


def new_cluster(settings: CqlSettings) -> Cluster:
    try:
        consistency = ConsistencyLevel.name_to_value[settings.consistency]
    except KeyError:
        names = ", ".join(sorted(ConsistencyLevel.name_to_value))
        raise InvariantError(f"consistency {settings.consistency!r}: expected one of {names}") from None
    # What a token's owners are is the driver's to know; one attempt is one attempt: repeating is done here.
    near: LoadBalancingPolicy = RoundRobinPolicy()
    if settings.datacenter is not None:
        near = DCAwareRoundRobinPolicy(local_dc=settings.datacenter)
    profile = partial(
        ExecutionProfile, TokenAwarePolicy(near), FallthroughRetryPolicy(), consistency, None, settings.timeout
    )
    auth = None
    if settings.username is not None:
        auth = PlainTextAuthProvider(settings.username, settings.password or "")
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)  # its warnings come by the connection, without bound
    return Cluster(
        contact_points=list(settings.hosts),
        port=settings.port,
        protocol_version=4,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile(named_tuple_factory), ROWS: profile(tuple_factory)},
        connection_class=LibevConnection,
        reconnection_policy=ExponentialReconnectionPolicy(0.2, 5.0),
        auth_provider=auth,
        ssl_context=tls(settings),
        connect_timeout=settings.timeout,
        schema_event_refresh_window=-1,
        idle_heartbeat_interval=5,
        idle_heartbeat_timeout=5,
    )


def reason(error: BaseException) -> str:
    """What an operator can use of it."""
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict) and error.errors:
        return "; ".join(f"{host}: {each}" for host, each in list(error.errors.items())[:3])
    return str(error) or type(error).__name__
