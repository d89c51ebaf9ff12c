"""The did:plc method's own audit logs."""

from __future__ import annotations

import json

import pytest

from ingest.identity import did_doc, plc, plc_op
from ingest.identity.plc_op import PlcReason, PlcRefused
from schemas.syntax import Did

LOGS = "did-method-plc/did-method-plc/interop_tests/audit_log"

REASONS = {
    "log_invalid_nullification_reused_key": PlcReason.SIGNATURE,
    "log_invalid_nullification_too_slow": PlcReason.LATE_RECOVERY,
    "log_invalid_sig_b64_newline": PlcReason.SIGNATURE,
    "log_invalid_sig_b64_padding_bits": PlcReason.SIGNATURE,
    "log_invalid_sig_b64_padding_chars": PlcReason.SIGNATURE,
    "log_invalid_sig_der": PlcReason.SIGNATURE,
    "log_invalid_sig_k256_high_s": PlcReason.SIGNATURE,
    "log_invalid_sig_p256_high_s": PlcReason.SIGNATURE,
    "log_invalid_update_nullified": PlcReason.ORDER,
    "log_invalid_update_tombstoned": PlcReason.ORDER,
}


def test_every_valid_log_is_accepted_whole(vectors):
    paths = sorted(vectors(f"{LOGS}/valid").glob("*.json"))

    for path in paths:
        log = json.loads(path.read_text())
        entries = plc.validate_log(log)
        assert [entry.nullified for entry in entries] == [item["nullified"] for item in log], path.name
        assert entries[0].operation.did == log[0]["did"], path.name
        assert [plc.iso(entry.created) for entry in entries] == [item["createdAt"] for item in log], path.name
    assert len(paths) >= 6


def test_every_invalid_log_is_refused_for_its_own_fault(vectors):
    paths = sorted(vectors(f"{LOGS}/invalid").glob("*.json"))

    for path in paths:
        with pytest.raises(PlcRefused) as refused:
            plc.validate_log(json.loads(path.read_text()))
        assert refused.value.reason is REASONS[path.stem], path.name
    assert len(paths) >= 5


def test_a_legacy_create_reads_as_an_ordinary_state(vectors):
    log = json.loads(vectors(f"{LOGS}/valid/log_legacy_dholms.json").read_text())

    first = plc_op.parse(log[0]["operation"])
    data = first.data(first.did)

    assert first.did == "did:plc:yk4dd2qkboz2yv6tpubpc6co"
    assert str(first.cid) == log[0]["cid"]
    assert data["alsoKnownAs"] == ["at://dan.bsky.social"]
    assert data["rotationKeys"] == [log[0]["operation"]["recoveryKey"], log[0]["operation"]["signingKey"]]


def test_the_state_of_a_log_makes_a_document_that_reads_back(vectors):
    log = json.loads(vectors(f"{LOGS}/valid/log_bnewbold_robocracy.json").read_text())

    newest = plc.validate_log(log)[-1]
    document = did_doc.parse(newest.did, plc.format_document(newest.operation.data(newest.did)))

    assert document.handles == ("bnewbold.robocracy.org",)
    assert document.pds == "https://pds.robocracy.org"
    assert document.signing_key.did_key == newest.operation.json["verificationMethods"]["atproto"]


@pytest.mark.parametrize("change", ["cid", "nullified", "did", "createdAt", "dropped"])
def test_a_log_that_was_tampered_with_is_refused(vectors, change):
    log = json.loads(vectors(f"{LOGS}/valid/log_nullification.json").read_text())
    match change:
        case "cid":
            log[1]["cid"] = log[0]["cid"]
        case "nullified":
            log[1]["nullified"] = not log[1]["nullified"]
        case "did":
            log[1]["did"] = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
        case "createdAt":
            log[1]["createdAt"] = "1969-01-01T00:00:00.000Z"
        case _:
            del log[0]

    with pytest.raises(PlcRefused):
        plc.validate_log(log)


def test_real_documents_give_a_key_a_handle_and_a_pds(vectors):
    path = vectors("bluesky-social/jetstream/internal/corpus/testdata/did_docs.json")
    documents = json.loads(path.read_text())

    for did, raw in documents.items():
        document = did_doc.parse(Did(did), raw)
        assert document.signing_key is not None, did
        assert document.pds.startswith("https://"), did
        assert document.handles, did
    assert len(documents) > 10


@pytest.mark.parametrize("name", ["did_plc_doc", "did_plc_doc_legacy", "did_web_doc"])
def test_indigo_documents_parse(vectors, name):
    raw = json.loads(vectors(f"bluesky-social/indigo/atproto/identity/testdata/{name}.json").read_text())

    document = did_doc.parse(Did(raw["id"]), raw)

    if name == "did_web_doc":
        assert (document.pds, document.signing_key, document.handles) == (None, None, ())
        assert document.service("#bsky_fg", "BskyFeedGenerator") == "https://discover.bsky.social"
    else:
        assert document.signing_key.did_key.startswith("did:key:zQ3sh")
        assert (document.pds, document.handles) == ("https://bsky.social", ("atproto.com",))


def test_the_legacy_and_the_modern_document_name_one_key(vectors):
    folder = "bluesky-social/indigo/atproto/identity/testdata"
    raw = json.loads(vectors(f"{folder}/did_plc_doc_legacy.json").read_text())

    key = did_doc.parse(Did(raw["id"]), raw).signing_key

    assert key.curve == "k256"
    assert len(key.point) == 33
