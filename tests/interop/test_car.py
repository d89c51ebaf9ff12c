"""Real CAR files: whole repos import, list and export again; old and partial ones are refused for what they are."""

from __future__ import annotations

import base64
import json

import pytest

from ingest.repo.car import read_car, write_car
from ingest.repo.car_reader import CarReader
from ingest.repo.commit import decode_commit
from ingest.repo.mst import Tree
from ingest.repo.reasons import RepoReason
from ingest.repo.repo_car import open_record_proof, open_repo_car
from schemas.cid import Cid
from schemas.errors import Refused

pytestmark = pytest.mark.usefixtures("each_core")

INDIGO = "bluesky-social/indigo/testing/testdata"
CORPUS = "bluesky-social/jetstream/internal/corpus/testdata"
WHOLE = {
    f"{INDIGO}/greenground.repo.car": ("did:plc:kzcqyc3unb33eh5sxzsfs25z", 2),
    "bluesky-social/indigo/atproto/repo/testdata/bnewbold.robocracy.org.20250310005405.car": (
        "did:plc:nhxcyu4ewwhl5pqil4dotqjo",
        38,
    ),
    "blacksky-algorithms/rsky/rsky-repo/resources/test/valid_repo.car": ("did:plc:r7fdhqmw3h2cifeakw5hmvy6", 6),
    f"{CORPUS}/repo.car": ("did:plc:53iucmf5ldftgqyf2ac7hmhd", 23),
}
LEGACY = [f"{INDIGO}/divy.repo", f"{INDIGO}/fakermaker.repo.car", f"{INDIGO}/repo_slice.car"]
PARTIAL = "mackuba/skyfall/spec/fixtures/attie.car"


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_repo_imports_lists_and_exports_to_the_same_root(vectors, name):
    did, count = WHOLE[name]
    data = vectors(name).read_bytes()

    repo = open_repo_car(data)

    records = dict(repo.tree.items())
    assert (repo.signed.did, len(records)) == (did, count)
    again = Tree.empty()
    for path, cid in records.items():
        again.put(path, cid)
    root, nodes = again.write()
    assert root == repo.signed.data
    blocks = {repo.signed.cid.raw: repo.signed.block} | nodes
    blocks |= {cid.raw: repo.blocks[cid.raw] for cid in records.values()}
    assert blocks.items() <= repo.blocks.items()
    exported = b"".join(write_car([repo.signed.cid], blocks))
    assert open_repo_car(exported).signed == repo.signed
    assert dict(open_repo_car(exported).tree.items()) == records


@pytest.mark.parametrize("name", [*WHOLE, *LEGACY, PARTIAL])
def test_a_file_in_pieces_gives_what_it_gives_whole(vectors, name):
    data = vectors(name).read_bytes()
    reader, blocks = CarReader(max_size=len(data)), {}

    for at in range(0, len(data), 1_000):
        blocks |= dict(reader.feed(data[at : at + 1_000]))

    assert (reader.finish(), blocks) == read_car(data)


@pytest.mark.parametrize("name", LEGACY)
def test_a_repo_of_version_2_is_refused_with_a_clear_error(vectors, name):
    with pytest.raises(Refused, match="expected a repo of version 3, found 2") as caught:
        open_repo_car(vectors(name).read_bytes())

    assert caught.value.reason == RepoReason.COMMIT_VERSION


def test_a_partial_repo_proves_a_record_and_is_no_whole_repo(vectors):
    data = vectors(PARTIAL).read_bytes()

    proven = open_record_proof(data, "app.bsky.feed.post", "3mt37ifa2ev2f")

    assert proven.signed.did == "did:plc:v7lt2fu7igydcjszoexxrvl2"
    assert proven.cid is not None
    assert proven.record is not None
    assert Cid.of_cbor(proven.record) == proven.cid
    assert b"New Attie feature" in proven.record
    with pytest.raises(Refused) as caught:
        open_repo_car(data)
    assert caught.value.reason == RepoReason.MISSING_BLOCK


def test_the_corpus_repo_holds_the_records_that_goat_lists(vectors):
    repo = open_repo_car(vectors(f"{CORPUS}/repo.car").read_bytes())
    expected = [line.split("\t") for line in vectors(f"{CORPUS}/car_expected_records.tsv").read_text().splitlines()]
    facts = vectors(f"{CORPUS}/car_expected_commit.txt").read_text()

    assert [[path, str(cid)] for path, cid in repo.tree.items()] == sorted(expected)
    for fact in (f"DID: {repo.signed.did}", f"Data CID: {repo.signed.data}", f"Revision: {repo.signed.rev}"):
        assert fact in facts


def test_the_reference_car_fixtures_go_both_ways(vectors):
    cases = json.loads(vectors("bluesky-social/atproto/packages/repo/tests/car-file-fixtures.json").read_text())

    def raw(text: str) -> bytes:
        return base64.b64decode(text + "=" * (-len(text) % 4))

    assert cases
    for case in cases:
        blocks = {Cid.parse(block["cid"]).raw: raw(block["bytes"]) for block in case["blocks"]}
        root = Cid.parse(case["root"])
        assert b"".join(write_car([root], blocks)) == raw(case["car"])
        assert read_car(raw(case["car"])) == ([root], blocks)


def test_the_commit_of_a_repo_with_an_old_prev_is_read(vectors):
    roots, blocks = read_car(vectors(f"{INDIGO}/greenground.repo.car").read_bytes())

    assert decode_commit(blocks[roots[0].raw]).prev is not None
