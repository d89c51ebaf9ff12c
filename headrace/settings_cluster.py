"""The settings that only a cluster needs: the broker, the store, which part a process is and whom it asks.

Does not own which role needs which (`headrace/roles.py` refuses with the cure). Passwords are files, never values.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from headrace.settings_network import HttpUrl, NetworkSettings, Port, split

_SERVER = re.compile(r"[^\s:,/]+:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5}")

TopicPart = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
List = Annotated[tuple[str, ...], NoDecode]


class ClusterSettings(NetworkSettings):
    """Read by the roles of a cluster alone; `headrace up` needs none of them."""

    cluster: TopicPart = Field("headrace", description="Name of the cluster: begins its topics and consumer groups.")
    generation: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,15}$")] = Field(
        "g1", description="Generation of the views that `process` builds, and that `appview` reads while none is live."
    )
    runner: Literal["faust", "plain"] = Field(
        "faust", description="What hosts the processors: Faust, or its twin on aiokafka alone."
    )
    pds_name: TopicPart | None = Field(
        None, description="Name of a PDS in its cluster: no two run under one; by default its hostname."
    )
    appview_url: HttpUrl | None = Field(None, description="Address a PDS forwards `app.bsky` calls to.")
    admin_token_file: Path | None = Field(
        None, description="File with the password of com.atproto.admin; by default `admin_token` in the data directory."
    )
    canary_pds: HttpUrl | None = Field(
        None, description="Address of the PDS that `canary` posts through; it asks `appview_url`, or else the PDS."
    )
    canary_handle: str | None = Field(
        None, description="Handle of the canary's account, which is made at its first start."
    )
    canary_password_file: Path | None = Field(
        None, description="File with its password; by default `canary_password` in the data directory, made there."
    )
    canary_seconds: Annotated[float, Field(ge=1, le=60)] = Field(
        15.0,
        description="Time between two posts of the canary, in seconds; one costs its account 4 of 35,000 points a day.",
    )
    canary_wait_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        30.0, description="Seconds after which a post of the canary that does not show is given up."
    )

    kafka_servers: List = Field((), description="Brokers to begin with, as host:port; comma-separated.")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How brokers are spoken to."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="How a client proves itself to a broker."
    )
    kafka_username: str | None = Field(None, description="User at the broker.")
    kafka_password_file: Path | None = Field(None, description="File with the user's password at the broker.")
    kafka_ssl_ca: Path | None = Field(None, description="Authorities of the brokers' certificates, PEM.")
    kafka_ssl_cert: Path | None = Field(None, description="Our certificate at the broker, PEM.")
    kafka_ssl_key: Path | None = Field(None, description="Its private key, PEM.")
    kafka_replication: Annotated[int, Field(ge=1, le=9)] = Field(
        1, description="Copies of each topic that is made; 3 in production."
    )
    kafka_min_insync: Annotated[int, Field(ge=1, le=9)] = Field(
        1, description="Copies that must have a write before it counts; 2 in production."
    )
    kafka_transaction_timeout_ms: Annotated[int, Field(ge=1_000, le=900_000)] = Field(
        10_000, description="How long the open transaction of one that died may hide what came after it."
    )
    kafka_session_timeout_ms: Annotated[int, Field(ge=1_000, le=1_800_000)] = Field(
        6_000, description="How long a silent worker keeps its shards."
    )
    kafka_heartbeat_ms: Annotated[int, Field(ge=100, le=600_000)] = Field(
        1_000, description="Time between two signs of life of a worker; a third of the session at most."
    )

    firehose_base: Annotated[int, Field(ge=0, lt=2**52)] = Field(
        0, description="When the cluster's log is replaced: the last seq of the firehose that the old one served."
    )

    cql_hosts: List = Field((), description="Nodes of the store to begin with; comma-separated.")
    cql_port: Port = Field(9042, description="Port of the store's nodes.")
    cql_keyspace: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,29}$")] = Field(
        "headrace", description="Begins the names of keyspaces; each generation has one."
    )
    cql_datacenter: str | None = Field(
        None, description="Our datacenter in the store; without it keyspaces are made for one node's laboratory."
    )
    cql_replication: Annotated[int, Field(ge=1, le=9)] = Field(
        1, description="Copies of each row in keyspaces that are made; 3 in production."
    )
    cql_consistency: Literal["ONE", "QUORUM", "LOCAL_QUORUM", "ALL"] = Field(
        "LOCAL_QUORUM", description="How many copies answer for a read or a write."
    )
    cql_username: str | None = Field(None, description="User at the store.")
    cql_password_file: Path | None = Field(None, description="File with the user's password at the store.")
    cql_ssl_ca: Path | None = Field(None, description="Authorities of the store's certificates, PEM; makes it TLS.")
    cql_driver: Literal["auto", "scylla-driver", "acsylla"] = Field(
        "auto",
        description="Client library that carries rows; schema is scylla-driver's in any case."
        " `auto`: acsylla without TLS, scylla-driver with it.",
    )
    cql_epoch: Annotated[int, Field(ge=0, le=63)] = Field(
        0, description="Raised by one when the cluster's log is replaced, so that rows of the new one win."
    )
    audit_rate: Annotated[int, Field(ge=0)] = Field(
        1_000,
        description="Entries of the log and rows of the views that the audit of one processor looks at in a second;"
        " 0 for no audit.",
    )
    late_seconds: Annotated[float, Field(gt=0, le=30)] = Field(
        2.0,
        description="Seconds that an AppView waits for what an answer can do without (counts, the viewer's reactions"
        " and follows, typeahead) before it leaves that out.",
    )
    reads_at_once: Annotated[int, Field(ge=16, le=65_536)] = Field(
        256, description="Statements that an AppView has under way at the store, in all its requests."
    )

    rows_kept_seconds: Annotated[float, Field(ge=0, le=2)] = Field(
        1.0,
        description="Seconds for which an AppView may show what it has read once: so long after the views, a takedown,"
        " a block or a deletion may still not show to others than who wrote it. 0 keeps nothing.",
    )

    @field_validator("kafka_servers", "cql_hosts", mode="before")
    @classmethod
    def _split_list(cls, value: Any) -> Any:
        return split(value)

    @field_validator("kafka_servers")
    @classmethod
    def _servers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [server for server in value if _SERVER.fullmatch(server) is None]
        if wrong:
            raise ValueError(f"expected host:port, found {wrong[0]!r}")
        return value

    @field_validator("cql_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [host for host in value if "/" in host or any(mark.isspace() for mark in host)]
        if wrong:
            raise ValueError(f"expected a name or an address of a host, found {wrong[0]!r}")
        return value
