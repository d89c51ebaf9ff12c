"""Whether the did:plc directory that is set answers as one."""

from __future__ import annotations

from headrace.doctor.finding import WrongError
from ingest.identity.plc_client import PlcHttp
from ingest.identity.reasons import IdentityReason, IdentityRefused
from schemas.syntax import Did

# Of the form, and nobody's: a directory says so, in words of its own.
_NOBODY = Did("did:plc:" + "a" * 24)
_SECONDS = 5.0


async def answers(url: str) -> str:
    directory = PlcHttp(url, _SECONDS)
    try:
        await directory.document(_NOBODY)
    except IdentityRefused as refused:
        if refused.reason is IdentityReason.NOT_FOUND and not refused.detail.startswith(" "):
            return f"{url} answers"
        raise WrongError(
            f"{url}: expected the answer of a did:plc directory, found {refused.reason.value}:"
            f" {refused.detail.strip()}: check plc_url, that it runs, and that this machine may connect to it"
        ) from refused
    finally:
        await directory.close()
    raise WrongError(f"{url}: expected that it knows nobody of the name {_NOBODY}, found a document: check plc_url")
