"""The reference pages of docs/, computed from the code: `make docs` writes them, tests/unit/test_docs.py compares them.

Each page is a head written here and tables read from the declarations. Does not own the other pages.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import tempfile
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

import views
from api import apps
from api.xrpc import Auth, Endpoint
from headrace import settings as every_setting
from headrace.commands.ingest_frames import FeedReason
from headrace.settings import Settings
from headrace.wiring.embedded import Network
from ingest.identity.plc_op import PlcReason
from ingest.identity.reasons import IdentityReason
from ingest.log import Reason
from ingest.pds.rate_limit import BY_METHOD, CREATE_POINTS, DELETE_POINTS, GLOBAL, UPDATE_POINTS, WRITES, Rule
from ingest.relay.backfill_reasons import BackfillReason
from ingest.relay.reasons import RelayReason
from ingest.repo.keys import KeyReason
from ingest.repo.reasons import RepoReason
from processors.decode import NO_MAP
from schemas import lexicon
from schemas.cbor import CborReason
from schemas.cid import CidReason
from schemas.lexicon.failure import LexiconReason
from schemas.syntax import SyntaxReason
from tests.support import docs_roles
from views.table import Column, Table
from views.view import View

Family = tuple[str, str, str, tuple[str, ...]]  # name, kind, meaning, labels

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_METRICS_HEAD = """\
# Metrics

`GET /metrics` on the ops listener, in Prometheus' text form. Counters count from the start of the process. Every label is bounded, by what its column says. A histogram `x` is shown as `x_bucket`, `x_sum` and `x_count`.

What to watch: `headrace_views_freshness_seconds` (it should stay below a second), any increase of `headrace_ingest_refused_entries_total` or `headrace_log_rejected_entries_total` (somebody sends what does not verify), `headrace_firehose_cut_subscribers_total`, and requests with status 500 or 503. Of a relay, `headrace_relay_dropped_total` by reason first ([relay.md](relay.md)). In a cluster also `headrace_waiting_entries` (it should not grow), `headrace_derive_open_transaction_seconds` above the transaction timeout, `headrace_log_away`, and any increase of `headrace_log_forked_entries_total` (an account has two writers) or `headrace_lane_given_up_shards_total`. What looks at the whole cluster (`headrace_waiting_entries`, `headrace_views_*`) every processor shows alike: take the largest. The alerts of helm/rules watch these, with a page for each in [runbooks](runbooks/README.md).

"""  # noqa: E501 - a paragraph is a line

_PROCESSES = 9  # `headrace up`, and the roles of a cluster
_LABELS = {
    "topic": "`topic`: `commits`, `records`, `edges` or `fanout`",
    "nsid": "`nsid`: a method of the lexicons",
    "status": "`status`: HTTP status",
    "rule": "`rule`: name of a rate limit",
    "shard": "`shard`: at most 64",
    "source": "`source`: `frames` or `car`; of a relay `host` or `upstream`",
    "state": "`state`: five",
    "kind": "`kind`: five",
    "version": "`version`: one",
    "cache": "`cache`: `did` or `handle`",
    "outcome": "`outcome`: `hit` or `miss`; of rows also `joined`",
    "breaker": "`breaker`: `closed`, `open` or `half_open`",
    "asked": "`asked`: `answered`, `failed` or `turned_away`",
    "generation": "`generation`: at most three",
    "request": "`request`: `produce`, `fetch`, `commit`, `group` or `other`",
    "access": "`access`: `read` or `write`",
    "queue": "`queue`: eight at most",
    "result": "`result`: `shown`, `unshown`, `unread` or `unwritten`",
    "setting": "`setting`: `kafka_ssl_ca`, `kafka_ssl_cert` or `cql_ssl_ca`",
    "table": "`table`: of views, at most thirteen",
    "part": "`part`: `counts`, `reactions`, `follows`, `profile_counts`, `root_likes` or `typeahead`",
    "became": "`became`: `fetched`, `current` or `inactive`",
}
# By metric: the enums a `reason` is of, and the words beside them.
REASONS: dict[str, tuple[tuple[type[StrEnum], ...], tuple[str, ...]]] = {
    "headrace_log_rejected_entries_total": ((Reason,), ()),
    "headrace_derive_rejected_entries_total": ((Reason,), ()),
    "headrace_views_invalid_records_total": ((LexiconReason, CborReason, SyntaxReason), (NO_MAP,)),
    "headrace_ingest_refused_entries_total": (
        (RepoReason, FeedReason, RelayReason, Reason, KeyReason, IdentityReason, CborReason, CidReason, SyntaxReason),
        (),
    ),
    "headrace_relay_dropped_total": ((RelayReason, RepoReason, Reason, IdentityReason, KeyReason), ()),
    "headrace_relay_failed_fetches_total": ((RelayReason, RepoReason, Reason, IdentityReason, BackfillReason), ()),
    "headrace_relay_backfill_failed_accounts_total": (
        (BackfillReason, RelayReason, RepoReason, Reason, IdentityReason),
        (),
    ),
    "headrace_plc_mirror_refused_operations_total": ((PlcReason, CborReason, CidReason, SyntaxReason), ()),
    "headrace_plc_mirror_failed_requests_total": ((IdentityReason,), ()),
    "headrace_xrpc_shed_requests_total": ((), ("full", "late", "left")),
    "headrace_firehose_cut_subscribers_total": ((), ("future_cursor", "too_slow", "stalled", "shutdown")),
}

_ENDPOINTS_HEAD = """\
# Endpoints

All on the XRPC port (a relay's on `relay_port`), below `/xrpc/`. Every other method of the lexicons answers 501 `MethodNotImplemented`. Inputs and parameters are validated against the lexicons before an endpoint sees them.

| auth | who may call |
|---|---|
"""  # noqa: E501

_AUTH = {
    Auth.NONE: "anybody; the Authorization header is not read",
    Auth.OPTIONAL: "anybody; an access token or a service token says who looks",
    Auth.ACCESS: "an access token",
    Auth.FULL: "an access token of the account's own password",
    Auth.TAKENDOWN: "an access token, also the narrower one of an account under takedown",
    Auth.REFRESH: "a refresh token",
    Auth.REFRESH_EXPIRED: "a refresh token, also after its time",
    Auth.ADMIN: "Basic, user `admin`, password in DIR/admin_token",
    Auth.SERVICE: "a service token for the method",
    Auth.SERVICE_OPTIONAL: "anybody, or a service token for the method (an account that moves here)",
    Auth.ACCESS_OR_SERVICE: "an access token, or a service token for the method",
    Auth.ACCESS_OR_ADMIN_OPTIONAL: "anybody; the owner and the admin also see a hidden account",
}

_VIEWS_HEAD = """\
# Views

Every table that readers read, in the order of `views.ALL`; each is one file. A statement reads one partition, in clustering order, with a limit. A table is written from one topic: `records` (in the shard of the record's account), `edges` (in the shard of the subject's account) or `fanout` (in the shard of the reader). All of them are functions of the log: `headrace views build` computes them again beside the ones that are read.

"""  # noqa: E501


def settings_page(now: str) -> str:
    """docs/settings.md as it is, with its table as the code has it."""
    begin = now.index("| setting |")
    return now[:begin] + every_setting.markdown() + now[now.index("\n\n", begin) + 1 :]


def metrics_page(families: Iterable[Family]) -> str:
    """`families` are of one process; those of a cluster's roles are read here."""
    shown: dict[Family, list[str]] = {family: ["up"] for family in families}
    for role, registry in docs_roles.registries().items():
        for family in _families(registry):
            shown.setdefault(family, []).append(role)
    rows = ["| metric | kind | shown by | labels | what it says |", "|---|---|---|---|---|"]
    for (name, kind, about, labels), roles in sorted(shown.items()):
        bounds = "; ".join(_reasons(name) if label == "reason" else _LABELS[label] for label in labels)
        where = "all" if len(roles) == _PROCESSES else ", ".join(roles)
        rows.append(f"| `{name}` | {kind} | {where} | {bounds} | {about} |")
    return _METRICS_HEAD + "\n".join(rows) + "\n"


def _reasons(name: str) -> str:
    enums, words = REASONS[name]
    files = [f"{enum.__name__} ({Path(inspect.getfile(enum)).relative_to(ROOT)})" for enum in enums]
    return "`reason`: " + ", ".join((*files, *(f"`{word}`" for word in words)))


async def families_of(directory: Path) -> list[Family]:
    """(name, kind, meaning, labels) of all that a process shows, from one that runs in `directory`."""
    settings = Settings.model_construct(**{**Settings().model_dump(), "data": directory})
    network = await Network.open(settings.model_copy(update={"port": 0, "plc_port": 0, "ops_port": 0}))
    try:
        return _families(network.registry)
    finally:
        await network.close()


def _families(registry: CollectorRegistry) -> list[Family]:
    found = []
    for collector in registry._collector_to_names:
        for family in collector.collect():
            # A metric without a sample yet knows its labels all the same: itself, or as the family it collects.
            labels: Any = getattr(collector, "_labelnames", None) or getattr(family, "_labelnames", ())
            name = family.name + ("_total" if family.type == "counter" else "")
            found.append((name, family.type, family.documentation, tuple(labels)))
    return found


def endpoints_page() -> str:
    rows = [f"| {mode.value} | {_AUTH[mode]} |" for mode in Auth if mode in {e.auth for e in _all_endpoints()}]
    parts = [_ENDPOINTS_HEAD + "\n".join(rows) + "\n"]
    for title, found in (("PDS", apps.PDS), ("AppView", apps.VIEWS), ("Relay", apps.RELAY)):
        parts.append(f"\n## {title}\n\n| method | kind | auth | rate limit | file |\n|---|---|---|---|---|\n")
        parts.extend(_endpoint_row(endpoint) for endpoint in sorted(found, key=lambda endpoint: endpoint.nsid))
    parts.append(f"\nEvery method but getRepo also counts against {_rule(GLOBAL)}.\n")
    parts.append(
        f"A write costs {CREATE_POINTS} points to create, {UPDATE_POINTS} to update, {DELETE_POINTS} to delete.\n"
    )
    return "".join(parts)


def _all_endpoints() -> tuple[Endpoint, ...]:
    return (*apps.PDS, *apps.VIEWS, *apps.RELAY)


def _endpoint_row(endpoint: Endpoint) -> str:
    method = lexicon.load().method(endpoint.nsid)
    assert method is not None, endpoint.nsid
    file = Path(inspect.getfile(endpoint.handle)).relative_to(ROOT)
    limits = "; ".join(_rule(rule) for rule in BY_METHOD.get(endpoint.nsid, ()))
    return f"| `{endpoint.nsid}` | {method.kind} | {endpoint.auth.value} | {limits} | [{file.name}](../{file}) |\n"


def _rule(rule: Rule) -> str:
    every = {300: "in 5 minutes", 3600: "an hour", 86_400: "a day"}[rule.window]
    unit = "points" if rule in WRITES else "calls"
    key = {"did": "account", "ip": "address", "identifier": "address and identifier"}[rule.key]
    return f"{rule.points} {unit} {every} by {key}"


def views_page() -> str:
    files = {
        module.VIEW.name: module for module in vars(views).values() if isinstance(getattr(module, "VIEW", 0), View)
    }
    rows = ["| view | partition | clustering | from |\n|---|---|---|---|\n"]
    for view in views.ALL:
        keys = f"{_names(view.table.partition)} | {_names(view.table.clustering)}"
        rows.append(f"| [{view.name}](#{view.name}) | {keys} | {view.table.source} |\n")
    return _VIEWS_HEAD + "".join(rows) + "".join(_view(view, files[view.name]) for view in views.ALL)


def _names(columns: Sequence[Column]) -> str:
    return ", ".join(column.name + (" desc" if column.descending else "") for column in columns)


def _view(view: View, module: Any) -> str:
    table = view.table
    about = " ".join((module.__doc__ or "").split("\n\n")[0].split())
    fed = ", ".join(f"`{source}`" for source in dict.fromkeys((*view.rows, *view.tallies, *view.merge)))
    path = Path(module.__file__).relative_to(ROOT)
    lines = [
        f"\n## {view.name}\n",
        f"{about} [{path}](../{path}), written from `{table.source}`" + (f": {fed}.\n" if fed else ".\n"),
        "| column | kind | part of | what it is |",
        "|---|---|---|---|",
    ]
    for place, columns in _places(table):
        lines += [f"| `{column.name}` | {column.kind} | {place} | {column.about} |" for column in columns]
    return "\n".join(lines) + "\n"


def _places(table: Table) -> tuple[tuple[str, tuple[Column, ...]], ...]:
    return (
        ("partition key", table.partition),
        ("clustering key", table.clustering),
        ("row", table.columns),
        ("partition (static)", table.statics),
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        families = asyncio.run(families_of(Path(directory) / "data"))
    pages = {
        "settings.md": settings_page((DOCS / "settings.md").read_text()),
        "metrics.md": metrics_page(families),
        "endpoints.md": endpoints_page(),
        "views.md": views_page(),
    }
    for name, text in pages.items():
        (DOCS / name).write_text(text)
        sys.stdout.write(f"docs/{name}: {len(text)} bytes\n")


if __name__ == "__main__":
    main()
