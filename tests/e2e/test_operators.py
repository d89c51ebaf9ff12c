"""`headrace accounts` and `headrace hosts`, against a PDS and a relay that run."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from headrace import cli
from headrace.commands.common import USAGE, fail
from headrace.settings import SettingsError
from tests.support.network import Network
from tests.support.roles import Role


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def headrace(*arguments: object) -> Ended:
    """The command line in this process: starting one for each of so many commands is all that they would cost."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.command_line()(
                [*map(str, arguments)], exit_on_error=False, print_error=True, result_action="return_value"
            )
        except SettingsError as error:
            code = fail(USAGE, str(error))
    assert isinstance(code, int)
    return Ended(code, out.getvalue(), err.getvalue())


def call(network: Network, nsid: str, token: str | None = None, **body: object) -> tuple[int, dict]:
    headers = {"Content-Type": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    request = Request(f"{network.url}/xrpc/{nsid}", json.dumps(body).encode(), headers)
    try:
        with urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except HTTPError as error:
        return error.code, json.loads(error.read())


def join(network: Network, name: str) -> dict:
    status, made = call(
        network,
        "com.atproto.server.createAccount",
        handle=f"{name}.test",
        email=f"{name}@example.com",
        password="a long password",
    )
    assert status == 200, made
    return made


def post(network: Network, member: dict) -> tuple[int, dict]:
    record = {"$type": "app.bsky.feed.post", "text": "hello", "createdAt": "2026-01-01T00:00:00Z"}
    collection = "app.bsky.feed.post"
    return call(
        network,
        "com.atproto.repo.createRecord",
        member["accessJwt"],
        repo=member["did"],
        collection=collection,
        record=record,
    )


def test_an_operator_lists_shows_hides_and_deletes_accounts(network: Network, tmp_path: Path) -> None:
    alice, bea = join(network, "alice"), join(network, "bea")
    uri = post(network, alice)[1]["uri"]
    at = ("--data", network.data)

    def listed(*more: object) -> dict[str, dict]:
        done = headrace("accounts", "list", *at, "--json", *more)
        assert done.returncode == 0, done.stderr
        return {account["handle"]: account for account in json.loads(done.stdout)["accounts"]}

    assert {name: found["state"] for name, found in listed().items()} == {"alice.test": "active", "bea.test": "active"}
    assert list(listed("--email", "BEA@")) == ["bea.test"]
    done = headrace("accounts", "takedown", "alice.test", "--reference", "case-7", *at)
    assert (done.returncode, "case-7" in done.stdout) == (0, True), done.stderr
    assert post(network, alice)[0] == 401 or post(network, alice)[1]["error"] == "AccountTakedown"
    shown = headrace("accounts", "show", "alice.test", *at)
    assert "state: takendown\n" in shown.stdout
    assert "takedown: case-7\n" in shown.stdout
    table = headrace("accounts", "list", *at).stdout.splitlines()
    assert table[0].split() == ["DID", "HANDLE", "STATE", "SINCE", "EMAIL"]
    assert [line.split()[1:3] for line in table[1:]] == [["alice.test", "takendown"], ["bea.test", "active"]]
    assert headrace("accounts", "untakedown", alice["did"], *at).returncode == 0
    assert listed()["alice.test"]["state"] == "active"

    assert headrace("accounts", "takedown", uri, *at).returncode == 0
    with pytest.raises(HTTPError):
        urlopen(
            f"{network.url}/xrpc/com.atproto.repo.getRecord?repo=alice.test&collection=app.bsky.feed.post&rkey="
            + uri.rpartition("/")[2],
            timeout=30,
        )
    assert headrace("accounts", "untakedown", uri, *at).returncode == 0

    password = headrace("accounts", "reset-password", "alice.test", *at).stdout.strip()
    login = "com.atproto.server.createSession"
    assert call(network, login, identifier="alice.test", password="a long password")[0] == 401
    assert call(network, login, identifier="alice.test", password=password)[0] == 200
    assert password not in network.log.read_text()

    kept = headrace("accounts", "delete", "bea.test", *at)
    assert (kept.returncode, "--yes" in kept.stderr) == (2, True)
    assert headrace("accounts", "delete", "bea.test", "--yes", *at).returncode == 0
    assert list(listed()) == ["alice.test"]
    assert call(network, login, identifier="bea.test", password="a long password")[0] == 401

    wrong = tmp_path / "wrong"
    wrong.write_text("w" * 64)
    for words, code, cure in (
        (("show", "nobody.test"), 3, "accounts list"),
        (("show", bea["did"]), 3, "AccountNotFound"),
        (("list", "--set", f"admin_token_file={wrong}"), 3, "admin_token_file"),
        (("list", "--url", "http://pds.example.com"), 2, "https"),
        (("list", "--url", "http://127.0.0.1:9"), 4, "does not answer"),
    ):
        refused = headrace("accounts", *words, *at)
        assert (refused.returncode, cure in refused.stderr) == (code, True), refused.stderr
    none = headrace("accounts", "list", "--data", tmp_path / "empty")
    assert (none.returncode, "headrace up" in none.stderr) == (4, True)
    no_token = headrace("accounts", "list", "--data", tmp_path / "empty", "--url", network.url)
    assert (no_token.returncode, "admin_token_file" in no_token.stderr) == (2, True)
    elsewhere = ("--data", tmp_path / "empty", "--set", f"admin_token_file={network.data / 'admin_token'}")
    assert headrace("accounts", "list", "--url", network.url, *elsewhere).returncode == 0
    alone = [sys.executable, "-m", "headrace", "accounts", "list", "--data", str(network.data)]
    ended = subprocess.run(alone, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, alice["did"] in ended.stdout, ended.stderr) == (0, True, "")
    relay = headrace("hosts", "list", *at)
    assert (relay.returncode, "headrace relay" in relay.stderr) == (3, True)


@pytest.fixture(params=["relay", "up"])
def relay(request: pytest.FixtureRequest, network: Network, tmp_path: Path) -> Iterator[Path]:
    """The directory of one that runs on free ports, with the network's directory of identities."""
    settings = {"plc_url": network.plc_url, "allow_private_addresses": "true"}
    directory = tmp_path / "relay"
    running: Role | Network = Role("relay", directory, {**settings, "relay_port": "0"})
    if request.param == "up":
        directory.mkdir()
        (directory / "relay.sqlite").touch()  # one that has read hosts, and knows of none now
        running = Network(directory, settings=settings)
    try:
        running.start()
        yield directory
    finally:
        running.kill()


def test_an_operator_adds_limits_and_bans_hosts(network: Network, relay: Path) -> None:
    name = f"localhost:{network.url.rpartition(':')[2]}"
    at = ("--data", relay)

    def hosts() -> dict[str, dict]:
        done = headrace("hosts", "list", "--json", *at)
        assert done.returncode == 0, done.stderr
        return {host["Host"]: host for host in json.loads(done.stdout)["hosts"]}

    assert hosts() == {}
    assert headrace("hosts", "add", name, *at).returncode == 0
    assert list(hosts()) == [name]
    limited = headrace("hosts", "limits", name, "--accounts", 7, "--trusted", *at, "--json")
    assert limited.returncode == 0, limited.stderr
    assert (hosts()[name]["repo_limit"], hosts()[name]["Trusted"]) == (7, True)
    assert headrace("hosts", "ban", name, *at).returncode == 0
    assert hosts()[name]["Status"] == "banned"
    table = headrace("hosts", "list", *at).stdout.splitlines()
    assert table[0].startswith("HOST")
    assert table[1].split()[:2] == [name, "banned"]
    assert headrace("hosts", "unban", name, *at).returncode == 0
    assert hosts()[name]["Status"] != "banned"
    assert headrace("hosts", "ban-domain", "example.com", *at).returncode == 0
    assert "banned: *.example.com" in headrace("hosts", "list", *at).stdout
    assert headrace("hosts", "add", "pds.example.com", *at).returncode == 3
    assert headrace("hosts", "unban-domain", "example.com", *at).returncode == 0

    for words, code, cure in (
        (("ban", "nowhere.example.com"), 3, "nowhere.example.com"),
        (("limits", name), 2, "--accounts"),
        (("limits", "nowhere.example.com", "--accounts", 1), 3, "nowhere.example.com"),
    ):
        refused = headrace("hosts", *words, *at)
        assert (refused.returncode, cure in refused.stderr) == (code, True), refused.stderr
