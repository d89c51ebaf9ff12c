"""com.atproto.sync: repos, records and blobs for anybody, and the firehose."""

from __future__ import annotations

from api.com.atproto.sync import (
    get_blob,
    get_blocks,
    get_checkout,
    get_head,
    get_host_status,
    get_latest_commit,
    get_record,
    get_repo,
    get_repo_status,
    list_blobs,
    list_hosts,
    list_repos,
    relayed,
    request_crawl,
    subscribe_repos,
)

ENDPOINTS = (
    get_blob.ENDPOINT,
    get_blocks.ENDPOINT,
    get_checkout.ENDPOINT,
    get_head.ENDPOINT,
    get_latest_commit.ENDPOINT,
    get_record.ENDPOINT,
    get_repo.ENDPOINT,
    get_repo_status.ENDPOINT,
    list_blobs.ENDPOINT,
    list_repos.ENDPOINT,
    subscribe_repos.ENDPOINT,
)

RELAY_ENDPOINTS = (
    *relayed.ENDPOINTS,
    get_host_status.ENDPOINT,
    list_hosts.ENDPOINT,
    request_crawl.ENDPOINT,
    subscribe_repos.ENDPOINT,
)
