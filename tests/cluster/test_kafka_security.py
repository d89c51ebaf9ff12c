"""TLS and passwords to a real broker: what the settings say is what happens, and no password is ever shown."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from headrace.settings import Settings
from headrace.wiring.cluster import kafka_settings
from headrace.wiring.store import cql_settings
from tests.support.authority import Authority
from tests.support.devstack.jars import jars
from tests.support.devstack.kafka import CLUSTER_ID, Broker, broker
from tests.support.roles import Role, RolesCluster
from tests.support.stack import need_a_stack

pytestmark = pytest.mark.cluster
USER, PASSWORD = "headrace", "water-over-the-wheel"

SECURED = """
listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},PASSWORDS://127.0.0.1:{passwords},CERTIFICATES://127.0.0.1:{certificates}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},PASSWORDS://127.0.0.1:{passwords},CERTIFICATES://127.0.0.1:{certificates}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PASSWORDS:SASL_SSL,CERTIFICATES:SSL
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.passwords.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.certificates.ssl.client.auth=required
"""


@dataclass
class Secured:
    """A broker with a listener for passwords and one for certificates: `folder` has the PEM files."""

    folder: Path
    plain: str
    passwords: str
    certificates: str

    def with_password(self, password: str = PASSWORD) -> dict[str, str]:
        (self.folder / "password").write_text(password + "\n")
        return {
            "HEADRACE_KAFKA_SERVERS": self.passwords,
            "HEADRACE_KAFKA_SECURITY": "SASL_SSL",
            "HEADRACE_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "HEADRACE_KAFKA_USERNAME": USER,
            "HEADRACE_KAFKA_PASSWORD_FILE": str(self.folder / "password"),
            "HEADRACE_KAFKA_SSL_CA": str(self.folder / "ca.pem"),
        }

    def with_certificate(self) -> dict[str, str]:
        return {
            "HEADRACE_KAFKA_SERVERS": self.certificates,
            "HEADRACE_KAFKA_SECURITY": "SSL",
            "HEADRACE_KAFKA_SSL_CA": str(self.folder / "ca.pem"),
            "HEADRACE_KAFKA_SSL_CERT": str(self.folder / "client.crt"),
            "HEADRACE_KAFKA_SSL_KEY": str(self.folder / "client.key"),
        }


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    need_a_stack()
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder, "ca")
    authority.issue("server")
    authority.issue("client")
    plain, controller, passwords, certificates = free_ports(4)
    node = broker([Broker(1, plain, controller)], 0, folder)
    properties = folder / "kafka-1" / "server.properties"
    lines = SECURED.format(
        plain=plain, controller=controller, passwords=passwords, certificates=certificates, folder=folder
    )
    properties.write_text(properties.read_text() + lines)  # of two lines with one name the last one counts
    format_again(folder / "kafka-1" / "log", properties)
    try:
        node.start()
        yield Secured(folder, *(f"127.0.0.1:{port}" for port in (plain, passwords, certificates)))
    finally:
        node.stop()


def format_again(log: Path, properties: Path) -> None:
    """With the user, whom a broker that runs would have to be told of by another client."""
    shutil.rmtree(log)
    tool = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", f"{jars('kafka')}/*", "kafka.tools.StorageTool"]
    user = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
    command = [*tool, "format", "-t", CLUSTER_ID, "-c", str(properties), "--add-scram", user]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def headrace(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headrace", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **environment}
    )


@pytest.mark.timeout(600)  # a broker and two roles are started
def test_roles_work_over_tls_with_a_password(secured: Secured, cql_address, cluster_name: str, tmp_path: Path) -> None:
    """Topics, transactions and Faust's group: every kind of client that a cluster has."""
    cluster = RolesCluster(tmp_path, secured.passwords, cql_address, cluster_name)
    environment = secured.with_password()
    made = headrace("topics", "create", "--set", f"cluster={cluster_name}", "--set", "shards=2", **environment)
    roles = [Role(name, tmp_path / name, cluster.settings, environment) for name in ("derive", "process")]
    try:
        for role in roles:
            role.begin()
        for role in roles:
            role.await_ready()
        codes = [role.stop() for role in roles]
    finally:
        for role in roles:
            role.kill()
        cluster.settings["kafka_servers"] = secured.plain
        cluster.drop()

    assert (made.returncode, codes) == (0, [0, 0]), made.stderr
    assert all(PASSWORD not in role.tail() for role in roles)


def test_our_own_certificate_is_shown_to_a_broker_that_asks_for_one(secured: Secured, cluster_name: str) -> None:
    environment = secured.with_certificate()
    asked = ("topics", "create", "--set", f"cluster={cluster_name}c")
    shown = headrace(*asked, **environment)
    del environment["HEADRACE_KAFKA_SSL_CERT"], environment["HEADRACE_KAFKA_SSL_KEY"]
    without = headrace(*asked, **environment)

    assert shown.returncode == 0, shown.stderr
    assert without.returncode == 1
    assert "found none that answers" in without.stderr


def test_a_wrong_password_is_said_and_not_shown(secured: Secured) -> None:
    wrong = "no-such-password"

    done = headrace("topics", "check", **secured.with_password(wrong))

    assert done.returncode == 1
    assert "check kafka_servers, that it runs, and the kafka_ settings of security and passwords" in done.stderr
    assert wrong not in done.stderr + done.stdout


def test_a_broker_whose_authority_is_not_ours_is_not_spoken_to(secured: Secured, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other").file

    done = headrace("topics", "check", **{**secured.with_password(), "HEADRACE_KAFKA_SSL_CA": str(other)})

    assert done.returncode == 1
    assert "found none that answers" in done.stderr
    assert PASSWORD not in done.stderr


def test_settings_do_not_show_passwords(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    settings = Settings(kafka_password_file=secret, cql_password_file=secret, cql_username=USER, kafka_username=USER)

    kafka, cql = kafka_settings(settings), cql_settings(settings)

    assert (kafka.sasl_password, cql.password) == (PASSWORD, PASSWORD)
    assert PASSWORD not in f"{settings!r} {kafka!r} {cql!r} {kafka} {cql}"
