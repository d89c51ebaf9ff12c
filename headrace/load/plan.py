"""A load plan: what stands, who comes, how fast, what is broken on purpose, and what must hold.

Times are seconds from the beginning of the load, rates a second. Everything random comes from `seed`. Does not own how
a plan's file is read (`plan_file.py`) nor what is done with one (`run.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Positive = Annotated[float, Meta(gt=0, le=10_000_000)]
NotNegative = Annotated[float, Meta(ge=0, le=10_000_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]
Read = Literal["getTimeline", "getAuthorFeed", "getProfile", "getPostThread", "getPosts"]
Write = Literal["post", "reply", "like", "repost", "follow", "unlike", "createAccount"]


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """What is put under load: a process that the run starts, or a server that is there."""

    start: Literal["embedded", "cluster", "none"] = "embedded"
    url: str = ""  # XRPC of PDS and AppView; of another machine only when --target says the same
    kafka: str = ""  # host:port of a broker that is there, for a cluster; --kafka says it too
    cql: str = ""  # host:port of a CQL store that is there, for a cluster; --cql says it too
    ops: str = ""  # where its Prometheus metrics are, if anywhere
    handle_domain: str = ".test"
    invite_code: str = ""
    settings: dict[str, str | int | float | bool] = field(default_factory=dict)  # of what is started


class Population(Struct, frozen=True, forbid_unknown_fields=True):
    """Accounts of the target that are made before the load: heavy-tailed, who is followed more is liked more."""

    accounts: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    follows: Count = 20  # of each account
    posts: Count = 5  # of each account
    likes: Count = 5  # of each account
    celebrities: Count = 0  # of the accounts: followed by all others
    at_once: Annotated[int, Meta(ge=1, le=256)] = 16  # requests in flight while it is made


class Load(Struct, frozen=True, forbid_unknown_fields=True):
    """How the clients behave together."""

    seconds: Positive = 30.0
    ramp: NotNegative = 0.0  # rates rise from nothing over this long
    warm_up: NotNegative = 0.0  # not judged by criteria (the ramp and this)
    arrivals: Literal["poisson", "constant"] = "poisson"
    processes: Annotated[int, Meta(ge=1, le=64)] = 1
    in_flight: Annotated[int, Meta(ge=1, le=16_384)] = 512  # of each process; what comes beyond is dropped and counted
    timeout: Positive = 10.0
    settle: NotNegative = 30.0  # after the load, for what is to be read at last


class Readers(Struct, frozen=True, forbid_unknown_fields=True):
    """Requests that do not wait for each other."""

    rate: Positive
    mix: dict[Read, Positive] = field(default_factory=lambda: {"getTimeline": 1.0})
    limit: Annotated[int, Meta(ge=1, le=100)] = 30


class Sessions(Struct, frozen=True, forbid_unknown_fields=True):
    """People: open, scroll by cursor, look at a thread, like, leave. They arrive without waiting for each other."""

    rate: Positive
    pages: Annotated[int, Meta(ge=1, le=50)] = 3
    think: NotNegative = 1.0  # mean seconds between an answer and the next request
    likes: Share = 0.3  # of the pages


class Writers(Struct, frozen=True, forbid_unknown_fields=True):
    """Events, by the mix of the real network (Bluesky's firehose in April 2026, without what we do not write)."""

    rate: Positive
    batch: Annotated[int, Meta(ge=1, le=200)] = 1  # records of one applyWrites; the rate counts records
    mix: dict[Write, Positive] = field(
        default_factory=lambda: {
            "like": 66.4,
            "repost": 10.6,
            "follow": 6.8,
            "post": 6.4,
            "reply": 5.3,
            "unlike": 0.8,
        }
    )
    hot: NotNegative = 1.0  # exponent of the ranks of posts that are liked: 0 for all alike
    by: Literal["all", "celebrities"] = "all"


class Bursts(Struct, frozen=True, forbid_unknown_fields=True):
    """A player's rate for a while, again and again: more for a burst, nothing for a pause."""

    every: Annotated[float, Meta(ge=0.1, le=10_000_000)]  # seconds from one to the next
    seconds: Positive  # that one lasts
    times: NotNegative = 0.0  # the rate: 10 for a burst of ten times as many, 0 for a pause
    first: NotNegative = 0.0  # when the first comes


class Players(Struct, frozen=True, forbid_unknown_fields=True):
    """An archive that a target of this run's own takes in: at a rate, in recorded time, or (neither) flat out."""

    rate: NotNegative = 0.0  # frames a second
    times: NotNegative = 0.0  # instead: so many times the recorded speed
    ramp: NotNegative = 0.0  # the rate rises from nothing over this long
    bursts: Bursts | None = None
    # Its ingest hook; or a relay, or a host (PDS) of all its accounts, which the target reads and verifies.
    through: Literal["log", "relay", "host"] = "log"
    archive: str = ""  # a directory; none: it is synthesised
    accounts: Annotated[int, Meta(ge=1, le=1_000_000)] = 200
    followers: Count = 0  # instead: one account that so many follow, who all like what it posts
    begin: NotNegative = 0.0


class Checks(Struct, frozen=True, forbid_unknown_fields=True):
    """Posts that are followed into timelines, and counts that are compared with what was done."""

    every: Positive = 1.0
    within: Positive = 10.0  # a post that a follower is not shown by then is an error; and wrong if it never is
    followers: Annotated[int, Meta(ge=1, le=50)] = 3
    posts: Count = 100  # whose counts are compared at the end


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """What is done to a process: SIGKILL, SIGSTOP, SIGCONT, or started again as it was."""

    at: NotNegative
    do: Literal["kill", "stop", "continue", "restart"]
    process: str = "target"


class Criterion(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold: docs/load-testing.md lists the measures."""

    measure: str
    at_most: float | None = None
    at_least: float | None = None


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole plan."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    about: str = ""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 1
    target: Target = Target()
    population: Population = Population()
    load: Load = Load()
    readers: dict[str, Readers] = field(default_factory=dict)
    writers: dict[str, Writers] = field(default_factory=dict)
    players: dict[str, Players] = field(default_factory=dict)
    sessions: Sessions | None = None
    checks: Checks | None = None
    faults: list[Fault] = field(default_factory=list)
    criteria: list[Criterion] = field(default_factory=list)

    @property
    def judged_from(self) -> float:
        """Seconds after which criteria look."""
        return self.load.ramp + self.load.warm_up
