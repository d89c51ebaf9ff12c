"""indigo's relay scenarios: each message is passed on or dropped as its file says."""

from __future__ import annotations

import json

import pytest

from ingest.repo.frame import decode_frame
from ingest.repo.keys import PublicKey
from ingest.repo.messages import CommitMessage
from ingest.repo.verify import Previous, is_authoritative, verify_commit
from schemas import cbor
from schemas.data import from_json
from schemas.errors import Refused
from tests.interop.firehose_vectors import NOW

pytestmark = pytest.mark.usefixtures("each_core")

FOLDER = "bluesky-social/indigo/cmd/relay/testing/testdata"


class Relay:
    """The state that a relay keeps around the verifier: the last seq of its one host, and where each repo stood."""

    def __init__(self, accounts: list[dict], *, lenient: bool) -> None:
        self.host = "morel.us-east.host.bsky.network"
        self.accounts = {account["identity"]["did"]: account for account in accounts}
        self.lenient = lenient
        self.seq = 0
        self.heads: dict[str, Previous] = {}
        self.inverted = 0

    def passes(self, frame: bytes) -> bool:
        message = decode_frame(frame)
        if message.seq <= self.seq:
            return False
        account = self.accounts[message.did]
        if account["status"] != "active":
            return False
        if not is_authoritative(self.host, account["identity"]["services"]["atproto_pds"]["url"]):
            return False
        if isinstance(message, CommitMessage):
            key = PublicKey.from_multikey(account["identity"]["keys"]["atproto"]["publicKeyMultibase"])
            try:
                found = verify_commit(message, key, self.heads.get(message.did), NOW, lenient=self.lenient)
            except Refused:
                return False
            self.heads[message.did] = Previous(found.entry.rev, found.entry.data)
            self.inverted += found.inverted
        self.seq = message.seq
        return True


@pytest.mark.parametrize("name", ["legacy", "post_lifecycle", "post_lifecycle_legacy", "seq_ordering"])
def test_a_scenario_passes_and_drops_what_it_says(vectors, name):
    scenario = json.loads(vectors(f"{FOLDER}/{name}.json").read_text())
    relay = Relay(scenario["accounts"], lenient=scenario["lenient"])

    assert scenario["messages"]
    for message in scenario["messages"]:
        frame = cbor.encode(message["frame"]["header"]) + cbor.encode(from_json(message["frame"]["body"]))
        assert relay.passes(frame) is not message["drop"]

    if not scenario["lenient"]:
        assert relay.inverted == len(scenario["messages"])


def test_a_legacy_scenario_is_dropped_by_a_strict_relay(vectors):
    scenario = json.loads(vectors(f"{FOLDER}/post_lifecycle_legacy.json").read_text())
    relay = Relay(scenario["accounts"], lenient=False)

    passed = [
        relay.passes(cbor.encode(message["frame"]["header"]) + cbor.encode(from_json(message["frame"]["body"])))
        for message in scenario["messages"]
    ]

    assert passed[0]  # nothing was known of the repo
    assert not any(passed[1:])
