"""The command line, in subprocesses: start, stop, lock, status, ingest, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import orjson
import pytest

from tests.support.network import Network

CORPUS = "bluesky-social/jetstream/internal/corpus/testdata"


def headrace(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def get(url: str) -> object:
    with urlopen(url, timeout=20) as response:
        return orjson.loads(response.read())


def test_help_and_version_need_no_network() -> None:
    assert headrace("--version").stdout.startswith("headrace 0.")
    shown = headrace("--help")
    assert shown.returncode == 0
    for word in ("up", "status", "ingest", "Exit codes"):
        assert word in shown.stdout


def test_wrong_usage_and_wrong_settings_end_with_2(tmp_path: Path) -> None:
    assert headrace("sideways").returncode == 2
    assert headrace("up", "--port", "x").returncode == 2
    refused = headrace("up", "--data", tmp_path / "d", "--set", "shards=0")
    assert refused.returncode == 2
    assert "shards" in refused.stderr
    assert not (tmp_path / "d").exists()


def test_a_taken_port_is_named(network: Network, tmp_path: Path) -> None:
    port = network.url.rpartition(":")[2]

    refused = headrace("up", "--data", tmp_path / "other", "--port", port, "--plc-port", 0, "--ops-port", 0)

    assert refused.returncode == 2
    assert f"cannot bind 127.0.0.1:{port}" in refused.stderr
    assert "--port" in refused.stderr


def test_a_host_or_a_directory_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    host = headrace("up", "--data", tmp_path / "d", "--host", "nowhere.invalid")
    directory = headrace("up", "--data", tmp_path / "file")

    assert (host.returncode, directory.returncode) == (2, 2)
    assert "Choose another --host" in host.stderr
    assert "file cannot hold data" in directory.stderr


def test_a_directory_in_use_is_refused(network: Network) -> None:
    refused = headrace("up", "--data", network.data, "--port", 0, "--plc-port", 0, "--ops-port", 0)

    assert refused.returncode == 4
    assert f"in use by process {network.pid}" in refused.stderr


def test_the_three_listeners_answer_and_status_says_so(network: Network) -> None:
    assert get(f"{network.url}/xrpc/_health") == {"version": "headrace 0.1.0"}
    assert get(f"{network.plc_url}/_health") == {"version": "0.1.0"}
    assert get(f"{network.ops_url}/ready") == {"ready": True}
    assert get(f"{network.ops_url}/live") == {"live": True}
    with urlopen(f"{network.ops_url}/metrics", timeout=20) as response:
        assert b"headrace_build_info" in response.read()

    shown = headrace("status", "--data", network.data, "--json")

    assert shown.returncode == 0
    assert orjson.loads(shown.stdout)["addresses"]["xrpc"] == network.url


def test_both_signals_end_it_cleanly_and_nothing_is_left_running(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        running = Network(tmp_path / number.name).start()
        os.kill(running.pid, number)
        assert running.wait_for_death() == 0
        assert not (running.data / "running.json").exists()
        assert headrace("status", "--data", running.data).returncode == 1


def test_secrets_are_private_and_never_logged(network: Network) -> None:
    body = orjson.dumps({"handle": "alice.test", "email": "a@example.com", "password": "swordfish-swordfish"})
    request = Request(
        f"{network.url}/xrpc/com.atproto.server.createAccount", body, {"Content-Type": "application/json"}
    )
    with urlopen(request, timeout=20) as response:
        session = orjson.loads(response.read())

    log = network.log.read_text()
    for name in ("admin_token", "ops_token", "jwt_secret", "plc_rotation_key"):
        assert (network.data / name).stat().st_mode & 0o777 == 0o600
        assert (network.data / name).read_text().strip() not in log
    assert "swordfish" not in log
    assert session["accessJwt"] not in log


def test_an_account_survives_a_kill_and_its_address_stays(network: Network) -> None:
    body = orjson.dumps({"handle": "alice.test", "email": "a@example.com", "password": "password-alice"})
    request = Request(
        f"{network.url}/xrpc/com.atproto.server.createAccount", body, {"Content-Type": "application/json"}
    )
    with urlopen(request, timeout=20) as response:
        did = orjson.loads(response.read())["did"]
    url = network.url

    network.kill()
    network.start()

    assert network.url == url
    assert get(f"{url}/xrpc/com.atproto.sync.getRepoStatus?did={did}")["active"] is True
    assert get(f"{url}/xrpc/com.atproto.identity.resolveHandle?handle=alice.test") == {"did": did}


def test_frames_enter_a_running_network_and_read_back(network: Network, vectors: Callable[[str], Path]) -> None:
    arguments = (vectors(f"{CORPUS}/frames.bin"), "--did-docs", vectors(f"{CORPUS}/did_docs.json"))
    lines = [orjson.loads(line) for line in vectors(f"{CORPUS}/expected_v1.jsonl").read_bytes().splitlines()]

    done = headrace("ingest", "frames", *arguments, "--data", network.data, "--trust-handles", "--json")

    assert done.returncode == 0, done.stderr
    summary = orjson.loads(done.stdout)
    assert (summary["accepted"], summary["refused"]) == (80, 0)
    creates = [line for line in lines if line["kind"] == "commit" and line["commit"]["operation"] == "create"]
    assert len(creates) > 20
    for line in creates:
        commit = line["commit"]
        where = f"repo={line['did']}&collection={commit['collection']}&rkey={commit['rkey']}"
        found = get(f"{network.url}/xrpc/com.atproto.repo.getRecord?{where}")
        assert (found["cid"], found["value"]) == (commit["cid"], commit["record"])


def test_frames_enter_a_directory_at_rest(tmp_path: Path, vectors: Callable[[str], Path]) -> None:
    arguments = (vectors(f"{CORPUS}/frames.bin"), "--did-docs", vectors(f"{CORPUS}/did_docs.json"))

    first = headrace("ingest", "frames", *arguments, "--data", tmp_path / "data", "--json")
    again = headrace("ingest", "frames", *arguments, "--data", tmp_path / "data", "--json")

    assert first.returncode == 0, first.stderr
    assert orjson.loads(first.stdout)["accepted"] == 80
    assert again.returncode == 3
    assert orjson.loads(again.stdout)["refused"] > 50


def test_a_repo_imports_record_by_record_or_not_at_all(tmp_path: Path, vectors: Callable[[str], Path]) -> None:
    car = vectors(f"{CORPUS}/repo.car")
    data = ("--data", tmp_path / "data", "--json", "--set", "plc_url=http://127.0.0.1:9")

    refused = headrace("ingest", "car", car, *data)
    taken = headrace("ingest", "car", car, *data, "--trust-signature")

    assert refused.returncode == 3
    assert taken.returncode == 0, taken.stderr
    assert orjson.loads(taken.stdout)["signature"] == "not checked"
    assert orjson.loads(taken.stdout)["accepted"] > 10


def test_a_directory_of_other_shards_is_refused_with_the_cure(tmp_path: Path, vectors: Callable[[str], Path]) -> None:
    car = ("ingest", "car", vectors(f"{CORPUS}/repo.car"), "--data", tmp_path / "data")

    headrace(*car)
    refused = headrace(*car, "--set", "shards=2")

    assert refused.returncode == 1
    assert "shards is 1, expected 2" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_absent_file_is_a_failure(tmp_path: Path) -> None:
    done = headrace("ingest", "car", tmp_path / "absent.car", "--data", tmp_path / "data")

    assert done.returncode == 1
    assert "absent.car" in done.stderr


@pytest.mark.parametrize("at_rest", [True, False], ids=["at rest", "running"])
def test_wrong_input_is_refused_in_one_line(at_rest: bool, network: Network, tmp_path: Path) -> None:  # noqa: FBT001
    data = ("--data", tmp_path / "rest" if at_rest else network.data)
    (tmp_path / "noise").write_bytes(b"\xff" + bytes(range(256)) * 20)
    (tmp_path / "empty").touch()
    (tmp_path / "docs.json").write_text("{}")
    docs = ("--did-docs", tmp_path / "docs.json")

    for arguments, code, words in (
        (("frames", tmp_path / "absent", *docs), 1, "absent: No such file"),
        (("frames", tmp_path, *docs), 1, "Is a directory"),
        (("frames", tmp_path / "empty", *docs), 3, "the file is empty"),
        (("frames", tmp_path / "noise", "--did-docs", tmp_path / "noise"), 3, "found no UTF-8"),
        (("frames", tmp_path / "noise", "--did-docs", tmp_path / "empty"), 3, "not JSON"),
        (("car", tmp_path / "empty"), 3, "the file is empty"),
        (("car", tmp_path / "noise"), 3, "noise: car_"),
    ):
        done = headrace("ingest", *arguments, *data)
        assert (done.returncode, done.stdout) == (code, ""), arguments
        assert done.stderr.startswith("headrace: "), done.stderr
        assert words in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    noise = headrace("ingest", "frames", tmp_path / "noise", *docs, *data)
    assert noise.returncode == 3
    assert "expected [u32 little-endian length][bytes]" in noise.stdout


def test_a_forged_token_does_not_open_the_ingest_hook(network: Network) -> None:
    request = Request(f"{network.ops_url}/ingest/frames", b"x", {"Authorization": "Bearer forged"})
    with pytest.raises(HTTPError) as refused:
        urlopen(request, timeout=20)
    assert refused.value.code == 401
    refused.value.close()
