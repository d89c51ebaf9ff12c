"""`headrace doctor` and the metrics on certificates: what ends, what does not fit, what a server shows."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headrace import certificates
from headrace.doctor.examine import examine
from headrace.doctor.finding import Finding
from headrace.metrics.certificates import CertificatesCollector
from headrace.settings import Settings, SettingsError, load
from tests.support.authority import Authority

FREE = {"port": 0, "plc_port": 0, "ops_port": 0}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca", days=400)


@asynccontextmanager
async def tls_server(authority: Authority, days: float = 90.0) -> AsyncIterator[str]:
    """host:port of one that ends whatever is begun."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server", days))

    async def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(end, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


def settings_with(tmp_path: Path, authority: Authority, days: float = 90.0, **more: object) -> Settings:
    cert, key = authority.issue("client", days)
    key.chmod(0o600)
    named = {"kafka_ssl_ca": authority.file, "kafka_ssl_cert": cert, "kafka_ssl_key": key, "cql_ssl_ca": authority.file}
    return load({"data": tmp_path / "none", "kafka_security": "SSL", **named, **FREE, **more})


async def found_with(settings: Settings) -> dict[str, Finding]:
    return {each.check: each for each in await examine(settings)}


def wrong(found: dict[str, Finding]) -> list[str]:
    return [name for name, each in found.items() if not each.well]


async def test_certificates_that_hold_are_well(tmp_path: Path, authority: Authority) -> None:
    found = await found_with(settings_with(tmp_path, authority))

    assert wrong(found) == []
    assert [name for name in found if "ssl" in name] == [
        *("kafka_ssl_key", "kafka_ssl_ca", "cql_ssl_ca", "kafka_ssl_cert", "key of kafka_ssl_cert"),
    ]
    assert "holds until 20" in found["kafka_ssl_cert"].message


@pytest.mark.parametrize(("days", "says"), [(13.9, "expected 14 days or more"), (-1.0, "ended on"), (14.1, "holds")])
async def test_an_end_that_is_near_is_found(days: float, says: str, tmp_path: Path, authority: Authority) -> None:
    found = await found_with(settings_with(tmp_path, authority, days))

    assert wrong(found) == ([] if says == "holds" else ["kafka_ssl_cert"])
    assert says in found["kafka_ssl_cert"].message


async def test_a_key_of_another_certificate_is_found_and_not_shown(tmp_path: Path, authority: Authority) -> None:
    settings = settings_with(tmp_path, authority)
    other = authority.issue("other")[1]
    other.chmod(0o600)
    found = await found_with(settings.model_copy(update={"kafka_ssl_key": other}))

    assert wrong(found) == ["key of kafka_ssl_cert"]
    assert f"{other} is not the key of" in found["key of kafka_ssl_cert"].message
    body = other.read_text().splitlines()[1]
    assert all(body not in each.message for each in found.values())


@pytest.mark.parametrize(
    "holds", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
async def test_a_file_that_holds_none_is_found(holds: str, tmp_path: Path, authority: Authority) -> None:
    settings = settings_with(tmp_path, authority)
    assert settings.kafka_ssl_cert is not None
    settings.kafka_ssl_cert.write_text(holds)

    found = await found_with(settings)

    assert wrong(found) == ["kafka_ssl_cert", "key of kafka_ssl_cert"]
    assert "kafka_ssl_cert: expected certificates as PEM" in found["kafka_ssl_cert"].message


def test_of_authorities_the_last_counts_and_of_a_chain_the_first(tmp_path: Path, authority: Authority) -> None:
    settings = settings_with(tmp_path, authority, 90)
    old = Authority(tmp_path, "old", days=-1)
    for path in (settings.kafka_ssl_ca, settings.kafka_ssl_cert):
        assert path is not None
        path.write_bytes(path.read_bytes() + old.file.read_bytes())
    of_authorities, of_chain = (certificates.read(settings, name).ends for name in ("kafka_ssl_ca", "kafka_ssl_cert"))

    assert of_authorities > datetime.now(UTC) + timedelta(days=399)
    assert of_chain < datetime.now(UTC)


async def test_what_servers_show_is_looked_at(tmp_path: Path, authority: Authority) -> None:
    strange = Authority(tmp_path / "strange", "ca", days=400) if not (tmp_path / "strange").mkdir() else None
    assert strange is not None
    async with tls_server(authority) as well, tls_server(authority, 3) as soon, tls_server(strange) as unknown:
        settings = settings_with(tmp_path, authority, kafka_servers=f"{well},{soon},{unknown}")
        found = await found_with(settings)

    messages = {name: each.message for name, each in found.items() if name.startswith("certificate of")}
    assert messages[f"certificate of {well}"].startswith(f"the certificate of {well} holds until")
    assert "expected 14 days or more" in messages[f"certificate of {soon}"]
    assert "shows a certificate that does not hold" in messages[f"certificate of {unknown}"]


def test_a_scrape_tells_when_each_ends(tmp_path: Path, authority: Authority) -> None:
    settings = settings_with(tmp_path, authority, 30)
    loaded = [certificates.read(settings, name) for name in certificates.named(settings, "kafka")]
    (family,) = CertificatesCollector(loaded).collect()

    ends = {sample.labels["setting"]: sample.value for sample in family.samples}
    assert list(ends) == ["kafka_ssl_ca", "kafka_ssl_cert"]
    assert 29 < (ends["kafka_ssl_cert"] - datetime.now(UTC).timestamp()) / 86_400 <= 30


def test_what_no_connection_is_made_with_is_not_read(tmp_path: Path, authority: Authority) -> None:
    settings = settings_with(tmp_path, authority)

    assert certificates.named(settings, "cql") == ["cql_ssl_ca"]
    assert certificates.named(settings.model_copy(update={"kafka_security": "PLAINTEXT"}), "kafka") == []
    assert certificates.named(settings) == []


def test_a_file_that_is_gone_is_refused_by_its_setting(tmp_path: Path, authority: Authority) -> None:
    settings = settings_with(tmp_path, authority)
    authority.file.unlink()

    with pytest.raises(SettingsError, match=r"cql_ssl_ca: expected certificates as PEM in .*, found No such file"):
        certificates.read(settings, "cql_ssl_ca")
