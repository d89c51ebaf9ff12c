"""The process that `headrace backfill` is where no other serves the directory: the one that would, on ports of no name.

A directory with accounts in it, or an empty one, is a network's (`headrace up`); one that a relay has written to alone
is a relay's. Does not own the command (`headrace/commands/backfill.py`) nor what either is made of.
"""

from __future__ import annotations

from headrace.lock import DirectoryError
from headrace.roles import ROLES, check
from headrace.running import Running
from headrace.settings import Settings
from headrace.wiring.relay import FILE

_ACCOUNTS = "accounts.sqlite"
_ANY = {"port": 0, "plc_port": 0, "ops_port": 0, "relay_port": 0}


async def opened(settings: Settings) -> Running:
    """Raises LockedError, DirectoryError, SettingsError, InvariantError."""
    quiet = settings.model_copy(update=_ANY)
    if (settings.data / FILE).exists() and not (settings.data / _ACCOUNTS).exists():
        role = ROLES["relay"]
        check("relay", quiet, role.needs)
        start = role.load()
        return await Running().opened(lambda running: start(running, quiet))
    from headrace.wiring.embedded import Network  # noqa: PLC0415 - a relay does without

    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        (settings.data / FILE).touch(mode=0o600)  # where a relay has been, one reads
    except OSError as error:
        raise DirectoryError(settings.data, error) from None
    return await Network.open(quiet)
