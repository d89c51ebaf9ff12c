"""The XRPC errors that are not one method's own, worded as the reference words them.

Does not own: errors a lexicon declares (raised where they arise, as `XrpcError(name, message)`).
"""

from __future__ import annotations

from schemas.errors import XrpcError

# https://atproto.com/specs/xrpc: the error name a status has when nobody chose a better one.
NAME_BY_STATUS = {
    400: "InvalidRequest",
    401: "AuthenticationRequired",
    403: "Forbidden",
    404: "XRPCNotSupported",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    413: "PayloadTooLarge",
    415: "UnsupportedMediaType",
    426: "UpgradeRequired",
    429: "RateLimitExceeded",
    500: "InternalServerError",
    501: "MethodNotImplemented",
    502: "UpstreamFailure",
    503: "NotEnoughResources",
    504: "UpstreamTimeout",
}


def invalid_request(message: str) -> XrpcError:
    return XrpcError("InvalidRequest", message, 400)


def auth_required(message: str = "Authentication Required", name: str = "AuthenticationRequired") -> XrpcError:
    return XrpcError(name, message, 401)


def auth_missing() -> XrpcError:
    return XrpcError("AuthMissing", "Authentication Required", 401)


def invalid_token(message: str = "Token could not be verified") -> XrpcError:
    return XrpcError("InvalidToken", message, 400)


def forbidden(message: str) -> XrpcError:
    return XrpcError("Forbidden", message, 403)


def too_large(message: str = "request entity too large") -> XrpcError:
    return XrpcError("PayloadTooLarge", message, 413)


def not_implemented() -> XrpcError:
    return XrpcError("MethodNotImplemented", "Method Not Implemented", 501)


def not_found(message: str) -> XrpcError:
    return XrpcError("NotFound", message, 404)


def unavailable(message: str) -> XrpcError:
    return XrpcError("NotEnoughResources", message, 503)
