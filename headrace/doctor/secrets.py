"""The secrets in a data directory: each is there where it has to be, and is what it has to be. None is ever shown.

Public halves of keys are, as did:key. Does not own how they are made (`ingest.pds.secrets`). Changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace.client import OPS_TOKEN
from headrace.doctor.finding import WrongError, some
from headrace.secrets import ADMIN_TOKEN
from ingest.identity.plc_client import PlcHttp
from ingest.identity.reasons import IdentityRefused
from ingest.pds.accounts_examine import Kept, kept
from ingest.pds.secrets import JWT_SECRET, PLC_ROTATION_KEY
from ingest.repo.keys import KeyRefused, PrivateKey, PublicKey

ACCOUNTS = "accounts.sqlite"
_LEAST = 32  # characters
_LOOKED_AT = 100  # accounts, the newest: those that moved away have keys of others
_ASKED = 5  # accounts of which the did:plc directory is asked
_SECONDS = 5.0
_LOST = {
    JWT_SECRET: "without it every session has ended",
    PLC_ROTATION_KEY: "without it the identities of the accounts cannot be changed any more",
}


def files(directory: Path) -> str:
    """Raises WrongError."""
    there = [name for name in (ADMIN_TOKEN, OPS_TOKEN, JWT_SECRET, PLC_ROTATION_KEY) if (directory / name).exists()]
    wrong = [found for name in there if (found := _wrong(directory / name))]
    if (directory / ACCOUNTS).exists() and kept(directory / ACCOUNTS, 1).accounts:
        wrong += [
            f"{directory / name} is missing beside {ACCOUNTS}: bring it back from a backup before anything starts here,"
            f" or another is made ({cost})"
            for name, cost in _LOST.items()
            if name not in there
        ]
    if wrong:
        raise WrongError("; ".join(wrong))
    return f"{', '.join(there)} are what they have to be" if there else "none yet: they are made at the first start"


def _wrong(path: Path) -> str | None:
    found = path.read_bytes().strip()
    back = f"bring it back from a backup ({_LOST[path.name]})" if path.name in _LOST else "remove it: another is made"
    if len(found) < _LEAST or not found.isascii() or any(byte <= 32 for byte in found):
        return f"{path} has {len(found)} characters, expected {_LEAST} or more, of ASCII and in one word: {back}"
    if path.name == PLC_ROTATION_KEY and isinstance(_rotation_key(path), str):
        return f"{path} is no secp256k1 key as 64 hexadecimal digits, expected one: {back}"
    return None


def _rotation_key(path: Path) -> PublicKey | str:
    try:
        return PrivateKey.from_bytes("k256", bytes.fromhex(path.read_text("ascii").strip())).public
    except (ValueError, KeyRefused):  # whose words may hold a part of what was found
        return "no key"


def account_keys(directory: Path) -> str:
    """Every account's signing key is one. Raises WrongError, InvariantError."""
    found = kept(directory / ACCOUNTS, None)
    bad = [str(each.did) for each in found.keys if each.public is None]
    if bad:
        raise WrongError(
            f"the signing keys of {some(bad)} are no keys, expected 32 bytes of their curves: stop the PDS and restore"
            f" {ACCOUNTS} (docs/backups.md)"
        )
    return f"{found.accounts} accounts have signing keys"


async def identities(directory: Path, url: str) -> str:
    """What the did:plc directory at `url` says of the newest accounts: our keys are theirs. Raises WrongError."""
    ours = _rotation_key(directory / PLC_ROTATION_KEY)
    if isinstance(ours, str):
        raise WrongError(f"{directory / PLC_ROTATION_KEY} is no key: what is said above of it")
    newest = kept(directory / ACCOUNTS, _LOOKED_AT).keys
    asked = [each for each in newest if each.status == "active" and each.did.startswith("did:plc:")][:_ASKED]
    client, signing, rotating = PlcHttp(url, _SECONDS), [], []
    try:
        for each in asked:
            data = await _data(client, each)
            if each.public is not None and each.public.did_key != _signing_key(data):
                signing.append(str(each.did))
            if ours.did_key not in (data.get("rotationKeys") or ()):
                rotating.append(str(each.did))
    finally:
        await client.close()
    if signing:
        raise WrongError(
            f"{url} names other signing keys of {some(signing)} than {ACCOUNTS} has: when they have moved away,"
            " deactivate them here; else this is another server's file or directory"
        )
    if rotating:
        raise WrongError(
            f"{url} does not name {ours.did_key} among the rotation keys of {some(rotating)}, expected it, since it is"
            f" the key in {PLC_ROTATION_KEY}: when it was made anew, bring the old one back from a backup"
        )
    return f"{len(asked)} accounts looked at: their identities name our keys" if asked else "no account yet"


async def _data(client: PlcHttp, account: Kept) -> Mapping[str, Any]:
    """Raises WrongError."""
    try:
        return await client.data(account.did)
    except IdentityRefused as refused:
        raise WrongError(
            f"the did:plc directory was asked of {account.did}, expected what it is, found {refused.reason.value}:"
            " is it the directory that the account was made in (plc_url)?"
        ) from refused


def _signing_key(data: Mapping[str, Any]) -> str | None:
    methods = data.get("verificationMethods")
    found = methods.get("atproto") if isinstance(methods, dict) else None
    return found if isinstance(found, str) else None
