"""Which checks are made: what the settings name, in the order in which one leads to the next.

A data directory is looked at where there is one, or where nothing of a cluster is set. Does not own the checks.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from headrace import certificates as named_certificates
from headrace.doctor import certificates, directory, files, names, plc, relay, secrets
from headrace.doctor.finding import Check, Finding, find
from headrace.lock import DirectoryError
from headrace.settings import Settings
from headrace.wiring.views import LOG
from ingest.log_kafka.relay.view import FILE as RELAY_VIEW
from ingest.pds.secrets import PLC_ROTATION_KEY

_SECRETS = ("admin_token_file", "kafka_password_file", "kafka_ssl_key", "cql_password_file")


async def examine(settings: Settings) -> list[Finding]:
    """What was found, check by check. Changes nothing; raises nothing for what is wrong."""
    found = [
        await find(name, partial(directory.secret_file, path))
        for name in _SECRETS
        if (path := getattr(settings, name)) is not None
    ]
    found += await _certificates(settings)
    found += await _names(settings)
    of_cluster = bool(settings.kafka_servers or settings.cql_hosts)
    try:
        there = settings.data.exists()
    except OSError as error:
        cure = "run this as its owner, or name another with --data"
        found.append(
            Finding("data directory", False, f"{settings.data} cannot be looked for ({error.strerror}): {cure}")
        )
    else:
        if there or not of_cluster:
            found += await _directory(settings, embedded=not of_cluster)
    if settings.plc_url is not None:
        found += await _plc(settings, settings.plc_url)
    if of_cluster:
        found += await _cluster(settings)
    return found


async def _certificates(settings: Settings) -> list[Finding]:
    names = named_certificates.named(settings, "kafka", "cql")
    found = [await find(name, partial(certificates.file, settings, name)) for name in names]
    if "kafka_ssl_cert" in names:
        found.append(await find("key of kafka_ssl_cert", partial(certificates.key, settings)))
    return found


async def _names(settings: Settings) -> list[Finding]:
    asked, left_out = names.public(settings)
    found = [await find(f"name {name}", partial(names.found, settings, name)) for name in asked]
    return [*found, Finding("names", True, names.left_out(left_out))] if left_out else found


async def _plc(settings: Settings, url: str) -> list[Finding]:
    """What a silent directory says is not asked for."""
    from headrace.doctor import clocks  # noqa: PLC0415 - as in _cluster

    found = [await find("did:plc directory", partial(plc.answers, url))]
    if found[0].well:
        found.append(await find("clock of did:plc", partial(clocks.directory, url)))
        if _with_keys(settings.data):
            found.append(await find("identities", partial(secrets.identities, settings.data, url)))
    return found


def _with_keys(data: Path) -> bool:
    try:
        return (data / secrets.ACCOUNTS).exists() and (data / PLC_ROTATION_KEY).exists()
    except OSError:  # said of the directory itself
        return False


async def _directory(settings: Settings, *, embedded: bool) -> list[Finding]:
    data = settings.data
    if data.exists() and not data.is_dir():
        message = f"{data} is no directory, expected one, or nothing: name another with --data"
        return [Finding("data directory", False, message)]
    room = partial(directory.room, data)
    if not data.exists():
        nothing = f"{data} is not there yet: `headrace up` makes it; is another meant, name it with --data"
        ports = partial(directory.ports, settings, resting=True)
        return [Finding("data directory", True, nothing), await find("disk", room), await find("ports", ports)]
    found = [await find("data directory", partial(directory.private, data)), await find("disk", room)]
    if not found[0].well and not _may_look(settings):
        return found
    try:
        with directory.at_rest(data) as resting:
            return found + await _inside(settings, embedded=embedded, resting=resting)
    except DirectoryError as error:
        return [*found, Finding("process", False, f"expected a lock that can be taken or is held, found: {error}")]


async def _inside(settings: Settings, *, embedded: bool, resting: bool) -> list[Finding]:
    data = settings.data
    checks: list[tuple[str, Check]] = [("process", partial(directory.process, data, resting=resting))]
    if embedded or not resting:
        checks.append(("ports", partial(directory.ports, settings, resting=resting)))
    checks.append(("secrets", partial(secrets.files, data)))
    if (data / secrets.ACCOUNTS).exists():
        checks.append(("account keys", partial(secrets.account_keys, data)))
    if settings.plc_url is None and not resting and _with_keys(data):
        own = directory.addresses(data).get("plc")
        if own is not None:
            checks.append(("identities", partial(secrets.identities, data, own)))
    checks.append(("files", partial(files.whole, data, resting=resting)))
    if (data / LOG).exists():
        checks += [
            ("log", partial(files.log, settings)),
            ("clock", partial(files.clock, data)),
            ("views", partial(files.shape, data)),
        ]
    if (data / RELAY_VIEW).exists():
        checks.append(("relay's view", partial(relay.view, settings)))
    return [await find(*check) for check in checks]


def _may_look(settings: Settings) -> bool:
    try:
        next(settings.data.iterdir(), None)
    except OSError:
        return False
    return True


async def _cluster(settings: Settings) -> list[Finding]:
    """What a silent broker or store holds is not asked for."""
    from headrace.doctor import clocks, cluster, compaction  # noqa: PLC0415 - a data directory needs none of its clients

    found = [
        await find(f"certificate of {address}", partial(cluster.certificate, settings, address))
        for address in cluster.tls_addresses(settings)
    ]
    for wanted, checks in (
        (
            settings.kafka_servers,
            (("broker", cluster.broker), ("topics", cluster.topics), ("clock of the log", clocks.log)),
        ),
        (
            settings.cql_hosts,
            (("store", cluster.store), ("clock of the store", clocks.store), ("views", cluster.generation)),
        ),
    ):
        for name, check in checks if wanted else ():
            found.append(await find(name, partial(check, settings)))
            # Of one that is silent nothing more is asked, nor a log's end where a topic is missing.
            if not found[-1].well and name in ("broker", "topics", "store"):
                break
    if found[-1].check == "views" and found[-1].well and settings.kafka_servers:
        found.append(await find("compaction", partial(compaction.given_back, settings)))
    return found
