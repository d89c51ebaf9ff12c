"""Real repos: into a network by the command line, and into an account by migration; read back, exported, refused."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from headrace.settings import load
from headrace.wiring.embedded import Network as InProcess
from ingest.identity import service_auth
from ingest.log_sqlite.log import SqliteLog
from ingest.repo.car import read_car
from ingest.repo.commit import decode_commit
from ingest.repo.keys import PrivateKey
from ingest.repo.mst import Tree
from ingest.repo.repo_car import open_record_proof, open_repo_car
from schemas.data import cbor_to_json
from schemas.syntax import Did
from tests.scenarios.conftest import House, Member
from tests.support.hostile import REPO, SERVER, SYNC
from tests.support.network import Network

CORPUS = "bluesky-social/jetstream/internal/corpus/testdata"
INDIGO = "bluesky-social/indigo/testing/testdata"
WHOLE = {
    f"{INDIGO}/greenground.repo.car": 2,
    "bluesky-social/indigo/atproto/repo/testdata/bnewbold.robocracy.org.20250310005405.car": 38,
    "blacksky-algorithms/rsky/rsky-repo/resources/test/valid_repo.car": 6,
    f"{CORPUS}/repo.car": 23,
}
REFUSED = {
    f"{INDIGO}/divy.repo": "expected a repo of version 3, found 2",
    f"{INDIGO}/fakermaker.repo.car": "expected a repo of version 3, found 2",
    f"{INDIGO}/repo_slice.car": "expected a repo of version 3, found 2",
    "mackuba/skyfall/spec/fixtures/attie.car": "missing_block: block bafyrei",
}
KEY = PrivateKey.from_bytes("k256", b"\x09" * 32)


def records_of(car: bytes) -> tuple[str, dict[str, tuple[str, Any]]]:
    """(DID, path to CID and JSON) by the tree alone."""
    repo = open_repo_car(car)
    found = {path: (str(cid), orjson.loads(cbor_to_json(repo.blocks[cid.raw]))) for path, cid in repo.tree.items()}
    return repo.signed.did, found


def ingest(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headrace", "ingest", "car", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    running = Network(tmp_path / "data", settings={"rate_limit_scale": "1000"})
    try:
        yield running.start()
    finally:
        running.stop()


def ask(network: Network, nsid: str, **params: Any) -> tuple[int, Any]:
    try:
        with urlopen(f"{network.url}/xrpc/{nsid}?{urlencode(params)}", timeout=20) as response:
            return response.status, orjson.loads(response.read())
    except HTTPError as error:
        with error:
            return error.code, orjson.loads(error.read())


def test_real_repos_enter_a_running_network_and_every_record_reads_back(
    network: Network, vectors: Callable[[str], Path]
) -> None:
    for file, count in WHOLE.items():
        did, records = records_of(vectors(file).read_bytes())
        assert len(records) == count

        done = ingest(vectors(file), "--trust-signature", "--data", network.data, "--json")

        assert done.returncode == 0, done.stderr
        summary = orjson.loads(done.stdout)
        assert (summary["did"], summary["accepted"], summary["signature"]) == (did, count, "not checked")
        for path, (cid, value) in records.items():
            collection, _, rkey = path.partition("/")
            status, found = ask(network, f"{REPO}.getRecord", repo=did, collection=collection, rkey=rkey)
            assert (status, found) == (200, {"uri": f"at://{did}/{path}", "cid": cid, "value": value})
            assert ask(network, f"{REPO}.getRecord", repo=did, collection=collection, rkey=rkey, cid=cid)[0] == 200
        status, _ = ask(network, f"{REPO}.getRecord", repo=did, collection="app.bsky.feed.post", rkey="nothing")
        assert status == 400
    listed = [line.split("\t")[:2] for line in vectors(f"{CORPUS}/car_expected_records.tsv").read_text().splitlines()]
    did, records = records_of(vectors(f"{CORPUS}/repo.car").read_bytes())
    assert sorted(listed) == sorted([path, cid] for path, (cid, _) in records.items())
    profile = records["app.bsky.actor.profile/self"][1]
    status, shown = ask(network, "app.bsky.actor.getProfile", actor=did)
    assert status == 200
    assert shown["displayName"] == profile["displayName"]


@pytest.mark.parametrize("file", REFUSED)
async def test_old_and_partial_repos_are_refused_with_a_reason_and_leave_nothing(
    tmp_path: Path, vectors: Callable[[str], Path], file: str
) -> None:
    done = ingest(vectors(file), "--trust-signature", "--data", tmp_path / "data", "--json")

    assert done.returncode == 3
    assert done.stdout == ""
    assert REFUSED[file] in done.stderr
    assert len(done.stderr) < 600
    log = await SqliteLog.open(tmp_path / "data" / "log.sqlite")
    assert (log.commits_end(0), log.records_end(0)) == (0, 0)
    await log.close()


def test_a_running_network_refuses_them_in_the_same_words(network: Network, vectors: Callable[[str], Path]) -> None:
    file, reason = next(iter(REFUSED.items()))

    done = ingest(vectors(file), "--trust-signature", "--data", network.data)
    unknown = ingest(vectors(f"{CORPUS}/repo.car"), "--data", network.data)

    assert (done.returncode, done.stdout) == (3, "")
    assert reason in done.stderr
    assert unknown.returncode == 3
    assert "did_not_found" in unknown.stderr
    with urlopen(f"{network.ops_url}/status", timeout=20) as response:
        assert orjson.loads(response.read())["log"]["commits_end"] == [0]


@pytest.fixture
async def moving(tmp_path: Path) -> AsyncIterator[House]:
    """A network whose DIDs all have our key: the owner of any real account may move here."""

    async def directory(request: web.BaseRequest) -> web.Response:
        did = request.path.strip("/").split("/")[0]
        method = {
            "id": f"{did}#atproto",
            "type": "Multikey",
            "controller": did,
            "publicKeyMultibase": KEY.public.multikey,
        }
        service = {
            "id": "#atproto_pds",
            "type": "AtprotoPersonalDataServer",
            "serviceEndpoint": "https://old.example.com",
        }
        names = ["at://mover.example.com"]
        return web.json_response(
            {"id": did, "alsoKnownAs": names, "verificationMethod": [method], "service": [service]}
        )

    plc = RawTestServer(directory)
    await plc.start_server()
    settings = load(
        {
            "data": tmp_path / "data",
            "port": 0,
            "plc_port": 0,
            "ops_port": 0,
            "plc_url": str(plc.make_url("")),
            "allow_private_addresses": True,
        }
    )
    network = await InProcess.open(settings)
    try:
        async with aiohttp.ClientSession() as session:
            yield House(settings, network, session)
    finally:
        await network.close()
        await plc.close()


@pytest.mark.parametrize("file", WHOLE)
async def test_a_real_repo_moves_here_proves_every_record_and_exports_to_the_same_root(
    moving: House, vectors: Callable[[str], Path], file: str
) -> None:
    car = vectors(file).read_bytes()
    did, records = records_of(car)
    proof = service_auth.create(KEY, Did(did), "did:web:localhost", f"{SERVER}.createAccount", int(time.time()))
    joined = await moving.post(
        f"{SERVER}.createAccount",
        {"did": did, "handle": "mover.test", "email": "mover@example.com", "password": "password-mover"},
        {"Authorization": f"Bearer {proof}"},
    )
    assert joined.status == 200, joined.body
    mover = Member(did, "mover.test", joined.body["accessJwt"], joined.body["refreshJwt"])

    taken = await moving.post(
        f"{REPO}.importRepo",
        data=io.BytesIO(car),
        headers={**mover.auth, "Content-Type": "application/vnd.ipld.car"},
    )

    assert taken.status == 200, taken.body
    hidden = await moving.get(f"{SYNC}.getRepo", did=did)
    exported = await moving.get(f"{SYNC}.getRepo", mover.auth, did=did)
    assert hidden.error == (400, "RepoDeactivated")
    roots, blocks = read_car(exported.body)
    commit = decode_commit(blocks[roots[0].raw])
    assert commit.data == open_repo_car(car).signed.data
    assert commit.rev > open_repo_car(car).signed.rev
    assert records_of(exported.body) == (did, records)
    for path, (cid, value) in records.items():
        collection, _, rkey = path.partition("/")
        answer = await moving.get(f"{SYNC}.getRecord", mover.auth, did=did, collection=collection, rkey=rkey)
        proven = open_record_proof(answer.body, collection, rkey)
        assert (str(proven.cid), orjson.loads(cbor_to_json(proven.record))) == (cid, value)
        assert Tree.open(proven.signed.data, read_car(answer.body)[1].__getitem__).get(path) == proven.cid
    state = await moving.get(f"{SERVER}.checkAccountStatus", mover.auth)
    assert state.body["indexedRecords"] == len(records)
    assert state.body["activated"] is False
    # Whatever is wrong with a CAR, what has been moved stays.
    for bad in (car[:-20], car[: len(car) // 2]):
        again = await moving.post(
            f"{REPO}.importRepo", data=bad, headers={**mover.auth, "Content-Type": "application/vnd.ipld.car"}
        )
        assert again.error == (400, "InvalidRequest")
    assert (await moving.get(f"{SYNC}.getRepo", mover.auth, did=did)).body == exported.body
