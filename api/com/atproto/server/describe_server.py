"""com.atproto.server.describeServer: what one must know to make an account here."""

from __future__ import annotations

from typing import Any

from api.xrpc import Answer, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    pds = ctx.services.pds
    settings = pds.settings
    links: dict[str, Any] = {}
    if settings.privacy_policy is not None:
        links["privacyPolicy"] = settings.privacy_policy
    if settings.terms_of_service is not None:
        links["termsOfService"] = settings.terms_of_service
    return {
        "did": pds.service_did,
        "availableUserDomains": list(settings.handle_domains),
        "inviteCodeRequired": False,
        "phoneVerificationRequired": False,
        "links": links,
        "contact": {} if settings.contact_email is None else {"email": settings.contact_email},
    }


ENDPOINT = Endpoint("com.atproto.server.describeServer", handle)
