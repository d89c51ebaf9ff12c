"""The XRPC errors of the PDS, by the reference's names and statuses, said once.

Sources: TS packages/pds (auth-verifier.ts, api/com/atproto/**), recorded answers of the reference PDS 0.5.27.
"""

from __future__ import annotations

from schemas.errors import XrpcError


def invalid_request(message: str) -> XrpcError:
    return XrpcError("InvalidRequest", message)


def auth_missing() -> XrpcError:
    return XrpcError("AuthMissing", "Authentication Required", 401)


def auth_required(message: str = "Authentication Required") -> XrpcError:
    return XrpcError("AuthenticationRequired", message, 401)


def invalid_token(message: str = "Token could not be verified") -> XrpcError:
    return XrpcError("InvalidToken", message)


def expired_token(message: str = "Token has expired") -> XrpcError:
    return XrpcError("ExpiredToken", message)


def account_not_found() -> XrpcError:
    return XrpcError("AccountNotFound", "Account not found", 403)


def account_taken_down() -> XrpcError:
    return XrpcError("AccountTakedown", "Account has been taken down", 401)


def account_deactivated() -> XrpcError:
    return XrpcError("AccountDeactivated", "Account is deactivated", 401)


def invalid_swap(what: str, current: object) -> XrpcError:
    return XrpcError("InvalidSwap", f"{what} was at {current}")


def unavailable(message: str) -> XrpcError:
    """The outcome is unknown or the account is closed for the moment: the client may try again."""
    return XrpcError("ServiceUnavailable", message, 503)


def repo_not_found(did: str) -> XrpcError:
    return XrpcError("RepoNotFound", f"Could not find repo for DID: {did}")


def repo_inactive(did: str, status: str) -> XrpcError:
    """What sync endpoints say of an account that is not active."""
    return {
        "takendown": XrpcError("RepoTakendown", f"Repo has been takendown: {did}"),
        "suspended": XrpcError("RepoSuspended", f"Repo has been suspended: {did}"),
        "deactivated": XrpcError("RepoDeactivated", f"Repo has been deactivated: {did}"),
    }.get(status) or repo_not_found(did)


def record_not_found(uri: str) -> XrpcError:
    return XrpcError("RecordNotFound", f"Could not locate record: {uri}")


def invalid_record(uri: str, detail: str) -> XrpcError:
    """It is in the repo and cannot be shown as JSON; com.atproto.sync.getRecord gives its bytes."""
    return XrpcError("InvalidRecord", f"{uri} is in the repo and is not of the data model: {detail}"[:500])


def blob_not_found(message: str = "Blob not found") -> XrpcError:
    return XrpcError("BlobNotFound", message)


def handle_taken(handle: str) -> XrpcError:
    return XrpcError("HandleNotAvailable", f"Handle already taken: {handle}")
