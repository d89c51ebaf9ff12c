"""com.atproto.admin: takedowns, for the operator's token."""

from __future__ import annotations

from api.com.atproto.admin import get_subject_status, update_subject_status

ENDPOINTS = (get_subject_status.ENDPOINT, update_subject_status.ENDPOINT)
