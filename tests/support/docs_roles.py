"""What each role of a cluster shows as metrics, for docs/metrics.md: collectors over parts that did nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.registry import Collector

from api.metrics import HttpMetrics
from api.relay.jetstream import JetstreamMetrics
from headrace.metrics.audit import AuditCollector
from headrace.metrics.backfill import BackfillCollector
from headrace.metrics.calls import FetchCollector, KafkaCollector, StoreCollector
from headrace.metrics.canary import CanaryMetrics
from headrace.metrics.certificates import CertificatesCollector
from headrace.metrics.cluster import DeriveCollector, FirehoseCollector, RoleCollector
from headrace.metrics.directory import DirectoryCollector
from headrace.metrics.embedded import CommitMetrics
from headrace.metrics.identity import IdentityCollector
from headrace.metrics.pds import PdsCollector
from headrace.metrics.process import LanesCollector, RiverCollector
from headrace.metrics.queues import QueuesCollector
from headrace.metrics.recent import RecentRowsCollector
from headrace.metrics.relay import RelayCollector
from headrace.metrics.relay_log import RelayLogCollector
from headrace.metrics.tee import TeeCollector
from headrace.river import NOWHERE
from ingest.identity.breaker import Breaker
from ingest.log_kafka.requests import Requests
from processors.lanes.shards import TOPICS
from schemas.timings import Timings


class SizedNamespace(SimpleNamespace):
    def __len__(self) -> int:
        return 0


_kept: Any = SimpleNamespace(rows=0, hits=0, evicted=0)
_directory: Any = SimpleNamespace(breaker=Breaker(), outcomes=Counter())
_mirror: Any = SimpleNamespace(
    lag=0.0, hits=0, failed=Counter(), store=SimpleNamespace(dids=0, taken=0, refused=Counter())
)
_resolver: Any = SimpleNamespace(lookups=dict)
_worker: Any = SimpleNamespace(entries=0, transactions=0, rejected=Counter(), places={}, open_transaction_seconds=0.0)
_reader: Any = SimpleNamespace(firehose_bounds=lambda: (0, 0, 0))
_decoder = SimpleNamespace(projected_records=0, invalid=Counter())
_store: Any = SimpleNamespace(repeated=0, reads=Timings(), writes=Timings())
_lanes = SimpleNamespace(lanes={}, entries={}, busy=dict.fromkeys(TOPICS, 0.0), taken=0, given_up=0, decoder=_decoder)
_runner: Any = SimpleNamespace(lanes=_lanes, ready=True)
_river: Any = SimpleNamespace(last=NOWHERE, unseen=0.0)
_auditor: Any = SimpleNamespace(audited=0, too_large=0, divergent=0)
_log: Any = SimpleNamespace(appended=0, rejected=Counter(), unknown=0, away=False, rejections=SimpleNamespace(count=0))
_relay: Any = SimpleNamespace(
    known=(),
    store=SimpleNamespace(counts=Counter()),
    intake=SimpleNamespace(verification=SimpleNamespace(count=0, seconds=0.0)),
    strangers=SizedNamespace(messages=0, given_up=0),
    resync=SizedNamespace(held_bytes=0, done=0, given_up=0, failures=Counter()),
)
_relay_log: Any = SimpleNamespace(appended=0, rejected=Counter(), undecided=0, refused=0, repeated=0)
_backfills: Any = SimpleNamespace(waiting=0, became=Counter())
_tee: Any = SimpleNamespace(teed=0, again=0, undocumented=0, waiting_bytes=0)
_pds: Any = SimpleNamespace(open_account_files=0)


def registries() -> dict[str, CollectorRegistry]:
    """By role, as `headrace/wiring/*.py` fill them."""
    bare, asking = RoleCollector("0"), RoleCollector("0", _resolver)
    who = IdentityCollector(_kept, _directory, _mirror)
    room = DirectoryCollector(Path())
    store, broker, fetches = StoreCollector(lambda: _store), KafkaCollector(Requests()), FetchCollector(Timings())
    directory = _queues("plc_directory")
    relays = _queues("plc_directory", "relay_undecided", "relay_under_way", "relay_repairs", "relay_unresolved")
    for name in ("relay_under_way", "relay_repairs", "relay_unresolved", "relay_tee"):
        relays.add(name, lambda: 0, 1, "bytes")
    made = {
        "canary": _registry(bare, room),
        "plc": _registry(bare, room),
        "pds": _registry(asking, room, who, fetches, broker, _queues("log", "plc_directory"), PdsCollector(_log, _pds)),
        "derive": _registry(bare, room, broker, DeriveCollector(_worker)),
        "process": _registry(
            bare, broker, LanesCollector(_runner), RiverCollector(_river), AuditCollector(_auditor), store
        ),
        "firehose": _registry(bare, broker, FirehoseCollector(_reader)),
        "appview": _registry(
            asking, store, fetches, RecentRowsCollector(), IdentityCollector(None, _directory, None), directory
        ),
        "relay": _registry(
            *(
                asking,
                room,
                who,
                fetches,
                broker,
                RelayCollector(_relay),
                BackfillCollector(_backfills),
                TeeCollector(_tee),
            ),
            RelayLogCollector(_relay_log),
            relays,
        ),
    }
    CanaryMetrics(made["canary"], lambda: 0.0)
    for role in ("pds", "firehose", "appview", "relay"):
        HttpMetrics(made[role])
    JetstreamMetrics(made["relay"])
    for role in ("pds", "relay"):
        CommitMetrics(made[role])
    return made


def _queues(*names: str) -> QueuesCollector:
    made = QueuesCollector()
    for name in names:
        made.add(name, lambda: 0, 1)
    return made


def _registry(*collectors: Collector) -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(CertificatesCollector())
    for collector in collectors:
        registry.register(collector)
    return registry
