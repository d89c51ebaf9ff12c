"""The settings of a relay: whom it reads, how much it takes from each, what it asks of their commits.

Does not own where values come from (`headrace/settings.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from headrace.settings_network import Port, split

_Names = Annotated[tuple[str, ...], NoDecode]


class RelaySettings(BaseSettings):
    """Read by `headrace up` and by a relay that runs alone."""

    relay_crawl: _Names = Field(
        (), description="Hosts (PDSes) to read, as pds.example.com; comma-separated. They are remembered."
    )
    relay_upstreams: _Names = Field((), description="Relays to read, as wss://relay.example.com; comma-separated.")
    relay_port: Port = Field(2584, description="Port of a relay that runs alone: its firehose and its endpoints.")
    relay_processes: Annotated[int, Field(ge=0, le=64)] = Field(
        0, description="Processes that verify other people's commits; 0 verifies in this one."
    )
    relay_lenient: bool = Field(
        default=False, description="Let commits without prevData pass, as before Sync 1.1; they are not inverted."
    )
    relay_backlog: bool = Field(
        default=True,
        description="Read a new host from the oldest event that it keeps, not from now; upstream relays always from "
        "now.",
    )
    relay_whole_repos: bool = Field(
        default=False, description="Fetch the whole repo of an account that is met in the middle of its history."
    )
    relay_host_accounts: Annotated[int, Field(ge=0)] = Field(
        100, description="Accounts that a host may have, unless it is trusted or an operator says another number."
    )
    relay_new_hosts_day: Annotated[int, Field(ge=0)] = Field(
        50, description="Hosts taken in by requestCrawl within 24 hours."
    )
    relay_account_events_hour: Annotated[int, Field(ge=1)] = Field(
        5_000, description="Events that an account may send in an hour; what is over is dropped and caught up with."
    )
    relay_repo_limit: Annotated[int, Field(ge=1_000_000)] = Field(
        100_000_000, description="Largest repo that is fetched, bytes; four at once are held in memory."
    )
    relay_tee: Path | None = Field(
        None, description="Directory of archives: every frame that hosts send is kept there too, a folder a host."
    )
    relay_backfill_per_second: Annotated[float, Field(gt=0, le=1_000)] = Field(
        8.0, description="Requests that a backfill sends to one host in a second."
    )
    relay_backfill_at_once_host: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Requests that a backfill has under way at one host."
    )
    relay_backfill_at_once: Annotated[int, Field(ge=1, le=64)] = Field(
        4, description="Repos that backfills fetch at once, from all hosts; each may be as large as `relay_repo_limit`."
    )
    jetstream_dictionary: Path | None = Field(
        None, description="File with Jetstream's zstd dictionary, for subscribers of a relay that ask for `compress`."
    )

    @field_validator("relay_crawl", "relay_upstreams", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return split(value)
