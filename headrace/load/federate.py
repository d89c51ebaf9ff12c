"""Prices one real workload both ways: HTTP deliveries between n instances, or appends to a log and rows of views.

Delivery is ActivityPub as Mastodon does it: a post or a boost goes once to every instance on which its author has a
follower (shared inboxes), an answer also to the instance of whom it answers, a like or a follow to the instance of its
subject. An instance that is gone is tried again. Here an event is appended once, and makes rows: of the event itself,
and of each follower's timeline, which any instance of the other kind writes too. Does not own the archive
(`archive/`), the drawing (`plot.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from headrace.load.archive.blocks import Kind
from headrace.load.archive.jetstream import frame_lines
from headrace.load.archive.reader import Archive
from headrace.load.plot import Line, Plot, linear, number, table
from headrace.load.report import page

_SPREAD = ("app.bsky.feed.post", "app.bsky.feed.repost")
_POINTED = ("app.bsky.feed.like", "app.bsky.graph.follow")


class Act(NamedTuple):
    """What one account did: `spread` is to its followers, `to` are the accounts that are told anyway."""

    actor: int
    spread: bool
    to: tuple[int, ...]


class Workload(NamedTuple):
    """`followers[i]` are those of account i at the end of the archive: what grows only costs more."""

    accounts: int
    followers: dict[int, set[int]]
    acts: list[Act]

    @property
    def pushes(self) -> int:
        """Rows of timelines: one a follower of each post and boost."""
        return sum(len(self.followers.get(act.actor, ())) for act in self.acts if act.spread)


class Price(NamedTuple):
    """What n instances deliver; `pairs` of them talk to each other at all."""

    instances: int
    accounts: int
    acts: int
    deliveries: int
    retries: int
    pairs: int


def workload(archive: Archive) -> Workload:
    """Read an archive once. Memory is bounded by its accounts, follows and acts."""
    numbers: dict[str, int] = {}
    followers: dict[int, set[int]] = {}
    acts: list[Act] = []

    def of(did: str) -> int:
        return numbers.setdefault(did, len(numbers))

    for did, collection, record in _creates(archive):
        actor = of(did)
        if collection == "app.bsky.graph.follow":
            subject = of(str(record.get("subject", did)))
            followers.setdefault(subject, set()).add(actor)
            acts.append(Act(actor, spread=False, to=(subject,)))
        elif collection in _SPREAD or collection in _POINTED:
            acts.append(Act(actor, collection in _SPREAD, tuple(of(each) for each in _told(record))))
    return Workload(len(numbers), followers, acts)


def split(load: Workload, instances: int, dead: float, tries: int) -> Price:
    """The same workload on n instances of equal size, accounts dealt out in turn."""
    return _price(load, lambda account: account % instances, instances, dead, tries)


def grown(load: Workload, size: int, instances: int, dead: float, tries: int) -> Price:
    """A network that has grown to n instances of `size` accounts each: what its accounts did among themselves."""
    return _price(load, lambda account: account // size, instances, dead, tries)


def _price(load: Workload, home: Any, instances: int, dead: float, tries: int) -> Price:
    gone = set(range(instances - int(instances * dead), instances))  # the youngest
    homes: dict[int, Counter[int]] = {}
    pairs: set[tuple[int, int]] = set()
    acts = deliveries = retries = accounts = 0
    accounts = sum(home(account) < instances for account in range(load.accounts))
    for act in load.acts:
        at = home(act.actor)
        if at >= instances:
            continue
        acts += 1
        found = {home(each) for each in act.to}
        if act.spread:
            if act.actor not in homes:
                homes[act.actor] = Counter(home(each) for each in load.followers.get(act.actor, ()))
            found |= homes[act.actor].keys()
        for there in found:
            if there != at and there < instances:
                deliveries += 1
                pairs.add((at, there))
                retries += tries if there in gone else 0
    return Price(instances, accounts, acts, deliveries, retries, len(pairs))


def steps(most: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ... and the last."""
    found = [factor * 10**power for power in range(9) for factor in (1, 2, 5) if factor * 10**power < most]
    return [*found, most]


def html(load: Workload, splits: list[Price], growth: list[Price], source: str) -> str:
    """The document, with both plots."""
    most = max(price.deliveries + price.retries for price in splits)
    same = Plot(
        "The same workload on ever more instances",
        [
            Line("HTTP deliveries", [(price.instances, price.deliveries) for price in splits]),
            Line("with retries to the dead", [(price.instances, price.deliveries + price.retries) for price in splits]),
            Line("appends to the log", [(price.instances, len(load.acts)) for price in splits]),
        ],
        linear(0, splits[-1].instances, count=8),
        linear(0, max(most, len(load.acts)) * 1.05),
        "instances",
        "requests, appends",
    )
    top = max(price.deliveries + price.retries for price in growth)
    grow = Plot(
        "A network that grows by instances of one size",
        [
            Line("HTTP deliveries", [(price.instances, price.deliveries) for price in growth]),
            Line("with retries to the dead", [(price.instances, price.deliveries + price.retries) for price in growth]),
            Line("appends to the log", [(price.instances, price.acts) for price in growth]),
            Line("pairs of instances that talk", [(price.instances, price.pairs) for price in growth]),
        ],
        linear(0, growth[-1].instances, count=8),
        linear(0, max(top, growth[-1].acts, growth[-1].pairs) * 1.05),
        "instances",
        "requests, appends, pairs",
    )
    head = ["instances", "accounts", "acts = appends", "deliveries", "retries", "pairs that talk", "deliveries an act"]
    head_words = (
        f"<header><h1>Deliveries and appends</h1><p>{load.accounts:,} accounts, {len(load.acts):,} acts, "
        f"{number(load.pushes)} rows of timelines, which both ways write.</p>"
        '<p class="dim">Posts and boosts go once to each instance with a follower; answers, likes and follows to the '
        "instance of whom they mean. Every append is read once by each AppView there is, however many PDSes there "
        "are.</p></header>"
    )
    sections = [
        f"<section><h2>{title}</h2>{plot.html()}{table(head, [_row(each) for each in prices])}</section>"
        for title, plot, prices in (("One workload, split", same, splits), ("One network, growing", grow, growth))
    ]
    origin = f"<section><h2>From</h2>{table(['archive'], [[source]], words=(0,))}</section>"
    return page("Deliveries and appends", [head_words, *sections, origin])


def _row(price: Price) -> list[str]:
    share = price.deliveries / price.acts if price.acts else 0.0
    return [*(f"{value:,}" for value in price), f"{share:.2f}"]


def _creates(archive: Archive) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(DID, collection, record) of every record that is made, of frames or of Jetstream's lines."""
    for item in archive.items():
        if item.kind == Kind.COMMIT:
            lines = frame_lines(item.data, item.time)
        elif item.kind == Kind.LINE:
            lines = iter((item.data,))
        else:
            continue
        for line in lines:
            said = msgspec.json.decode(line)
            commit = said.get("commit") or {}
            record = commit.get("record")
            if commit.get("operation") == "create" and isinstance(record, dict):
                yield str(said["did"]), str(commit["collection"]), record


def _told(record: dict[str, Any]) -> list[str]:
    """The accounts that a like, a boost or an answer is about."""
    reply, subject = record.get("reply"), record.get("subject")
    about = reply.get("parent") if isinstance(reply, dict) else subject
    uri = about.get("uri") if isinstance(about, dict) else None
    if not isinstance(uri, str) or not uri.startswith("at://"):
        return []
    return [uri.removeprefix("at://").partition("/")[0]]
