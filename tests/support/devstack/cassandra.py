"""One node of Apache Cassandra: its configuration, and the question that tells it is ready."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from tests.support.devstack.jars import HERE, jars
from tests.support.devstack.node import Node

RING = 1 << 64


@dataclass(frozen=True, slots=True)
class Store:
    number: int
    address: str
    port: int
    storage_port: int


def store(stores: Sequence[Store], index: int, data: Path) -> Node:
    """The node of stores[index], with its configuration written."""
    own = stores[index]
    home = data / f"cassandra-{own.number}"
    home.mkdir(parents=True, exist_ok=True)
    settings = Template((HERE / "cassandra.yaml").read_text()).substitute(
        token=RING * index // len(stores) - RING // 2,
        data=home,
        address=own.address,
        port=own.port,
        storage_port=own.storage_port,
    )
    (home / "cassandra.yaml").write_text(settings)
    lib = jars("cassandra")
    heap = "768m" if len(stores) == 1 else "512m"
    program = [
        "java",
        f"@{HERE / 'cassandra.jvm'}",
        f"-javaagent:{next(lib.glob('jamm-*.jar'))}",
        *(f"-Xms{heap}", f"-Xmx{heap}", "-Xss512k", "-XX:+UseG1GC", "-XX:MaxDirectMemorySize=512m"),
        f"-Dcassandra.config=file://{home / 'cassandra.yaml'}",
        f"-Dcassandra.storagedir={home}",
        "-Dcassandra-foreground=yes",
        f"-Dlogback.configurationFile=file:{HERE / 'logback.xml'}",
        f"-Djava.io.tmpdir={home}",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.superuser_setup_delay_ms=0",
        # How long a node that joins asks the others who they are: at 1 ms it gave up when the first was slow to answer.
        f"-Dcassandra.ring_delay_ms={1 if len(stores) == 1 else 60_000}",
        "-Dio.netty.tryReflectionSetAccessible=true",
        *("-cp", f"{lib}/*", "org.apache.cassandra.service.CassandraDaemon"),
    ]
    log = data / f"cassandra-{own.number}.log"
    return Node(f"cassandra-{own.number}", program, log, lambda: _probe(own))


def _probe(own: Store) -> None:
    """A node is ready when it answers a query; it need not see the others yet."""
    socket.create_connection((own.address, own.port), timeout=1).close()
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
    from cassandra.policies import WhiteListRoundRobinPolicy

    alone = ExecutionProfile(load_balancing_policy=WhiteListRoundRobinPolicy([own.address]))
    cluster = Cluster([own.address], port=own.port, execution_profiles={EXEC_PROFILE_DEFAULT: alone})
    try:
        cluster.connect().execute("SELECT release_version FROM system.local", timeout=5)
    except NoHostAvailable as error:
        raise OSError(f"the store does not answer yet: {error}") from error
    finally:
        cluster.shutdown()
