"""com.atproto.server: accounts and sessions."""

from __future__ import annotations

from api.com.atproto.server import (
    activate_account,
    check_account_status,
    create_account,
    create_session,
    deactivate_account,
    delete_account,
    delete_session,
    describe_server,
    get_service_auth,
    get_session,
    refresh_session,
    request_account_delete,
)

ENDPOINTS = (
    activate_account.ENDPOINT,
    check_account_status.ENDPOINT,
    create_account.ENDPOINT,
    create_session.ENDPOINT,
    deactivate_account.ENDPOINT,
    delete_account.ENDPOINT,
    delete_session.ENDPOINT,
    describe_server.ENDPOINT,
    get_service_auth.ENDPOINT,
    get_session.ENDPOINT,
    refresh_session.ENDPOINT,
    request_account_delete.ENDPOINT,
)
