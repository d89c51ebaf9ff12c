"""com.atproto.admin: accounts and takedowns, for the operator's token."""

from __future__ import annotations

from api.com.atproto.admin import (
    delete_account,
    get_account_info,
    get_subject_status,
    search_accounts,
    update_account_password,
    update_subject_status,
)

ENDPOINTS = (
    delete_account.ENDPOINT,
    get_account_info.ENDPOINT,
    get_subject_status.ENDPOINT,
    search_accounts.ENDPOINT,
    update_account_password.ENDPOINT,
    update_subject_status.ENDPOINT,
)
