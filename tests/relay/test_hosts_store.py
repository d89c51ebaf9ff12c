"""What a relay keeps beside its log: what is counted in memory does not grow with what accounts call their hosts."""

from __future__ import annotations

from pathlib import Path

from ingest.relay.hosts_store import HostsStore
from tests.relay.world.people import did_of


def test_hosts_that_nobody_is_at_any_more_are_not_counted(tmp_path: Path) -> None:
    store = HostsStore(tmp_path / "relay.sqlite")
    for number in range(1_000):
        store.see(did_of(1), f"host{number}.example.com")

    assert store.counts == {"host999.example.com": 1}
    assert len(store.counts) == 1
    store.close()
    store = HostsStore(tmp_path / "relay.sqlite")
    assert dict(store.counts) == {"host999.example.com": 1}
    store.close()
