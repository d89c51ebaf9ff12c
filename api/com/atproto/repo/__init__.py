"""com.atproto.repo: records, read and written."""

from __future__ import annotations

from api.com.atproto.repo import (
    apply_writes,
    create_record,
    delete_record,
    describe_repo,
    get_record,
    import_repo,
    list_missing_blobs,
    list_records,
    put_record,
    upload_blob,
)

ENDPOINTS = (
    apply_writes.ENDPOINT,
    create_record.ENDPOINT,
    delete_record.ENDPOINT,
    describe_repo.ENDPOINT,
    get_record.ENDPOINT,
    import_repo.ENDPOINT,
    list_missing_blobs.ENDPOINT,
    list_records.ENDPOINT,
    put_record.ENDPOINT,
    upload_blob.ENDPOINT,
)
