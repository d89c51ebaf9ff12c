"""One broker, controller as well (KRaft): its configuration, its first format, the question that tells it is ready."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from tests.support.devstack.jars import HERE, jars
from tests.support.devstack.node import Node, NodeError

CLUSTER_ID = "AAAAAAAAQACAAAAAAAAAAQ"
MAX_REPLICATION = 3


@dataclass(frozen=True, slots=True)
class Broker:
    number: int
    port: int
    controller_port: int


def broker(brokers: Sequence[Broker], index: int, data: Path) -> Node:
    """The node of brokers[index], with its configuration written and its directory formatted."""
    own, many = brokers[index], len(brokers) > 1
    home = data / f"kafka-{own.number}"
    home.mkdir(parents=True, exist_ok=True)
    replication = min(len(brokers), MAX_REPLICATION)
    settings = Template((HERE / "kafka.properties").read_text()).substitute(
        node=own.number,
        port=own.port,
        controller_port=own.controller_port,
        voters=",".join(f"{each.number}@127.0.0.1:{each.controller_port}" for each in brokers),
        data=home,
        replication=replication,
        min_insync=max(1, replication - 1),
    )
    properties = home / "server.properties"
    properties.write_text(settings)
    classes = ["-cp", f"{jars('kafka')}/*", f"-Dlog4j2.configurationFile=file:{HERE / 'log4j2.properties'}"]
    if not (home / "log" / "meta.properties").exists():
        tool = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", *classes, "kafka.tools.StorageTool", "format"]
        done = subprocess.run(
            [*tool, "-t", CLUSTER_ID, "-c", str(properties)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise NodeError(f"the broker's directory could not be formatted: {done.stdout}{done.stderr}")
    heap = ["-Xms128m", "-Xmx256m"] if many else ["-Xms256m", "-Xmx512m"]
    program = ["java", *heap, "-XX:+UseG1GC", "-Djava.awt.headless=true", *classes, "kafka.Kafka", str(properties)]
    return Node(f"kafka-{own.number}", program, data / f"kafka-{own.number}.log", lambda: _probe(own))


def _probe(own: Broker) -> None:
    """A broker is ready when it answers for itself and knows a controller; it need not see the others yet."""
    socket.create_connection(("127.0.0.1", own.port), timeout=1).close()
    asyncio.run(_ask(own.port))


async def _ask(port: int) -> None:
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError

    admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}", request_timeout_ms=2000)
    try:
        await admin.start()
        known = await admin.describe_cluster()
    except KafkaError as error:
        raise OSError(f"the broker does not answer yet: {error}") from error
    finally:
        await admin.close()
    if all(each["port"] != port for each in known["brokers"]):
        raise OSError("the broker is not registered yet")
