"""What `helm test` runs: makes an account, posts, waits until the views show the post, deletes and deactivates.

    python post_and_read.py URL HANDLE_DOMAIN SECONDS

URL is the PDS's, as its Service names it. Says what it did on stdout; exit code 1 when the river does not flow.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
import sys
import time
import urllib.error
import urllib.request
from typing import Any

PAUSE_SECONDS = 0.5
CALL_SECONDS = 10.0
POST = "app.bsky.feed.post"
# What a PDS answers while the views do not know the account yet, or while an AppView is being started.
NOT_YET = (400, 502, 503)


def call(url: str, method: str, token: str | None = None, body: dict[str, Any] | None = None) -> Any:
    """The answer's JSON; None when it has no body. With a body it is a procedure. Raises HTTPError, URLError."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    data = None
    if body is not None:
        headers["content-type"] = "application/json"
        data = json.dumps(body).encode()
    with urllib.request.urlopen(
        urllib.request.Request(f"{url}/xrpc/{method}", data, headers), timeout=CALL_SECONDS
    ) as answer:
        said = answer.read()
    return json.loads(said) if said else None


def post_and_read(url: str, domain: str, seconds: float) -> int:
    name = f"probe{secrets.token_hex(4)}"
    account = {"handle": name + domain, "email": f"{name}@example.com", "password": secrets.token_hex(16)}
    made = call(url, "com.atproto.server.createAccount", body=account)
    did, token = made["did"], made["accessJwt"]
    print(f"made {account['handle']} ({did})")
    try:
        return post(url, did, token, seconds)
    finally:
        call(url, "com.atproto.server.deactivateAccount", token, {})
        print("deactivated it")


def post(url: str, did: str, token: str, seconds: float) -> int:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    record = {"$type": POST, "text": f"The river flows at {now}.", "createdAt": now}
    posted = time.monotonic()
    made = call(url, "com.atproto.repo.createRecord", token, {"repo": did, "collection": POST, "record": record})
    uri = made["uri"]
    print(f"posted {uri}")
    while not shown(url, did, uri):
        if time.monotonic() > posted + seconds:
            print(
                f"expected the views to show {uri} within {seconds:.0f} s: look at headrace_waiting_entries",
                file=sys.stderr,
            )
            return 1
        time.sleep(PAUSE_SECONDS)
    print(f"read it back after {time.monotonic() - posted:.2f} s")
    call(
        url,
        "com.atproto.repo.deleteRecord",
        token,
        {"repo": did, "collection": POST, "rkey": uri.rpartition("/")[2]},
    )
    return 0


def shown(url: str, did: str, uri: str) -> bool:
    """Read without a session: from the views, not from what the PDS knows of its own account's writes."""
    try:
        feed = call(url, f"app.bsky.feed.getAuthorFeed?actor={did}")["feed"]
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in NOT_YET:
            return False
        raise
    return any(item["post"]["uri"] == uri for item in feed)


if __name__ == "__main__":
    sys.exit(post_and_read(sys.argv[1].rstrip("/"), sys.argv[2], float(sys.argv[3])))
