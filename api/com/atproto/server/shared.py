"""How a session is shown."""

from __future__ import annotations

from typing import Any

from ingest.pds.login import Session


def tokens(session: Session) -> dict[str, Any]:
    return {"accessJwt": session.access, "refreshJwt": session.refresh}


def account(session: Session) -> dict[str, Any]:
    """`{did, didDoc?, handle}`."""
    answer: dict[str, Any] = {"did": session.did, "handle": session.handle}
    if session.did_doc is not None:
        answer["didDoc"] = session.did_doc
    return answer


def whole(session: Session) -> dict[str, Any]:
    """The account, its address, and its state."""
    answer = account(session)
    if session.email is not None:
        answer["email"] = session.email
        answer["emailConfirmed"] = session.email_confirmed
    answer["active"] = session.active
    if session.status is not None:
        answer["status"] = session.status
    return answer
