"""Accounts from creation to deletion, over a real log, a real PLC directory and real files."""

from __future__ import annotations

import asyncio

import jwt
import pytest

from ingest.identity import plc_op, service_auth
from ingest.identity.plc_op import PlcReason, PlcRefused
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.pds.settings import DAY, HOUR
from ingest.repo.keys import PrivateKey
from schemas.entries import Account, Commit, Identity
from schemas.errors import XrpcError
from schemas.syntax import Did
from tests.support.pds_world import PASSWORD, POST, PUBLIC_URL, World, key, pieces

METHOD = "com.atproto.repo.getRecord"


@pytest.fixture
async def world(tmp_path):
    world = await World(tmp_path).open()
    yield world
    await world.close()


async def refused(awaitable) -> XrpcError:
    with pytest.raises(XrpcError) as caught:
        await awaitable
    return caught.value


def mailed_token(world) -> str:
    newest = max((world.directory / "mail").glob("*.eml"))
    return newest.read_text().strip().rpartition("\n")[2]


async def test_a_new_account_is_in_the_directory_in_the_log_and_logged_in(world):
    alice = await world.account("alice")

    document = await world.resolver.did_document(alice.did)
    entries = [entry for _, entry in await world.log.read_commits(0, 0, 10)]
    events = await world.log.read_firehose(0, 10)

    assert document.handles == ("alice.test",)
    assert document.pds == PUBLIC_URL
    assert document.signing_key == world.pds._parts.accounts.get(alice.did).key.public
    assert [type(entry) for entry in entries] == [Identity, Account, Commit]
    assert [event.kind for event in events] == ["identity", "account", "commit"]
    assert world.pds.authenticate(alice.access).did == alice.did
    assert await world.pds.resolve_handle("alice.test") == alice.did


@pytest.mark.parametrize(
    ("handle", "name"),
    [
        ("alice.test", "HandleNotAvailable"),
        ("ALICE.test", "HandleNotAvailable"),
        ("admin.test", "HandleNotAvailable"),
        ("al.test", "InvalidHandle"),
        ("a.b.test", "InvalidHandle"),
        ("x" * 26 + ".test", "InvalidHandle"),
        ("no spaces.test", "InvalidHandle"),
        ("bob.local", "InvalidHandle"),
        ("bob.example.com", "UnsupportedDomain"),
    ],
)
async def test_handles_that_may_not_be_taken_are_refused_by_name(world, handle, name):
    await world.account("alice")

    error = await refused(world.pds.create_account(handle=handle, email="b@example.com", password="x"))

    assert error.name == name


async def test_an_email_is_taken_once_in_any_case(world):
    await world.account("alice")

    error = await refused(world.pds.create_account(handle="bob.test", email="ALICE@example.com", password="x"))

    assert error.message == "Email already taken: alice@example.com"


async def test_two_who_want_one_handle_at_once_get_one_account(world):
    both = await asyncio.gather(
        *(world.pds.create_account(handle="same.test", email=f"{n}@example.com", password="x") for n in range(2)),
        return_exceptions=True,
    )

    made = [item for item in both if not isinstance(item, XrpcError)]
    assert len(made) == 1
    assert {item.name for item in both if isinstance(item, XrpcError)} == {"HandleNotAvailable"}
    assert await world.pds.resolve_handle("same.test") == made[0].did


async def test_an_account_that_the_directory_refuses_leaves_its_handle_free(world, monkeypatch):
    async def refuse(did, op):  # noqa: ARG001
        raise PlcRefused(PlcReason.RATE, "too many")

    with monkeypatch.context() as patch:
        patch.setattr(world.plc, "submit", refuse)
        error = await refused(world.account("alice"))
    alice = await world.account("alice")

    assert error.status == 502
    assert world.log.head(alice.did).handle == "alice.test"


async def test_login_is_by_handle_did_or_email_and_wrong_passwords_all_look_alike(world):
    alice = await world.account("alice")

    for identifier in ("alice.test", "ALICE.TEST", alice.did, "alice@example.com", " alice.test "):
        assert (await world.pds.create_session(identifier, PASSWORD)).did == alice.did
    errors = [
        await refused(world.pds.create_session(identifier, password))
        for identifier, password in (("alice.test", "wrong"), ("nobody.test", PASSWORD), ("alice.test", "x" * 600))
    ]

    assert {(error.name, error.status, error.message) for error in errors} == {
        ("AuthenticationRequired", 401, "Invalid identifier or password")
    }


async def test_a_refresh_token_gives_one_successor_and_theft_ends_the_family(world):
    alice = await world.account()
    first = world.pds.tokens.verify_refresh(alice.refresh).token_id

    second = await world.pds.refresh_session(alice.did, first)
    again = await world.pds.refresh_session(alice.did, first)
    world.now += (2 * HOUR + 1) * 1_000_000
    stolen = await refused(world.pds.refresh_session(alice.did, first))
    second_id = world.pds.tokens.verify_refresh(second.refresh).token_id
    revoked = await refused(world.pds.refresh_session(alice.did, second_id))

    assert world.pds.tokens.verify_refresh(again.refresh).token_id == second_id
    assert (stolen.name, stolen.message) == ("ExpiredToken", "Token has been revoked")
    assert revoked.name == "ExpiredToken"
    assert (await world.pds.create_session(alice.handle, PASSWORD)).did == alice.did


async def test_logging_out_revokes_what_was_refreshed_from_it(world):
    alice = await world.account()
    other = await world.pds.create_session(alice.handle, PASSWORD)
    token_id = world.pds.tokens.verify_refresh(alice.refresh).token_id
    second = await world.pds.refresh_session(alice.did, token_id)

    await world.pds.delete_session(world.pds.tokens.verify_refresh(second.refresh).token_id)

    assert (await refused(world.pds.refresh_session(alice.did, token_id))).name == "ExpiredToken"
    other_id = world.pds.tokens.verify_refresh(other.refresh).token_id
    assert (await world.pds.refresh_session(alice.did, other_id)).did == alice.did


async def test_tokens_end_with_their_time(world):
    alice = await world.account()

    world.now += (2 * HOUR + 1) * 1_000_000
    with pytest.raises(XrpcError, match="ExpiredToken: Token has expired"):
        world.pds.authenticate(alice.access)
    world.now += 90 * DAY * 1_000_000
    with pytest.raises(XrpcError, match="ExpiredToken"):
        world.pds.tokens.verify_refresh(alice.refresh)


async def test_sessions_survive_a_restart(world):
    alice = await world.account()
    token_id = world.pds.tokens.verify_refresh(alice.refresh).token_id

    await world.restart()

    assert world.pds.authenticate(alice.access).did == alice.did
    assert (await world.pds.refresh_session(alice.did, token_id)).did == alice.did
    assert (await world.pds.create_session(alice.handle, PASSWORD)).did == alice.did


async def test_forged_tokens_are_refused(world):
    alice = await world.account()
    secret = (world.directory / "jwt_secret").read_bytes()
    claims = jwt.decode(alice.access, options={"verify_signature": False})

    forged = [
        alice.access[:-2],
        alice.refresh,
        jwt.encode(claims, secret, "HS256", headers={"typ": "JWT"}),
        jwt.encode(claims, b"x" * 64, "HS256", headers={"typ": "at+jwt"}),
        jwt.encode(claims | {"aud": "did:web:other.test"}, secret, "HS256", headers={"typ": "at+jwt"}),
        jwt.encode(claims, None, "none", headers={"typ": "at+jwt"}),
        "x" * 10_000,
        "",
    ]

    for token in forged:
        with pytest.raises(XrpcError, match="InvalidToken"):
            world.pds.authenticate(token)


async def test_a_service_token_verifies_and_its_bounds_hold(world):
    alice = await world.account()
    now = world.now // 1_000_000

    token = world.pds.service_auth(alice.did, "did:web:feeds.test", METHOD)
    claims = await service_auth.verify(
        token, {"did:web:feeds.test"}, METHOD, world.resolver, world.now / 1e6, replays=service_auth.ReplayGuard()
    )

    assert claims == alice.did
    for aud_exp in ((METHOD, now - 1), (METHOD, now + 3700), (None, now + 120)):
        with pytest.raises(XrpcError, match="BadExpiration"):
            world.pds.service_auth(alice.did, "did:web:feeds.test", *aud_exp)
    with pytest.raises(XrpcError, match="protected method"):
        world.pds.service_auth(alice.did, "did:web:feeds.test", "com.atproto.server.deactivateAccount")


async def test_a_deactivated_account_is_hidden_cannot_write_and_comes_back(world):
    alice = await world.account("alice")
    await world.post(alice.did, "one", key(1))
    after = world.log.firehose_bounds()[1]

    await world.pds.deactivate_account(alice.did)
    hidden = [
        await refused(world.pds.list_records(alice.did, POST)),
        await refused(world.pds.get_record(alice.did, POST, key(1))),
        await refused(world.pds.sync.latest_commit(alice.did)),
        await refused(world.post(alice.did)),
        await refused(world.pds.resolve_handle("alice.test")),
    ]
    session = await world.pds.create_session("alice.test", PASSWORD)
    own = await world.pds.sync.latest_commit(alice.did, as_owner=True)
    await world.pds.activate_account(alice.did)
    shown = await world.pds.get_record(alice.did, POST, key(1))

    assert [error.name for error in hidden] == [
        "InvalidRequest",
        "RecordNotFound",
        "RepoDeactivated",
        "AccountDeactivated",
        "InvalidRequest",
    ]
    assert (session.active, session.status) == (False, "deactivated")
    assert own.commit == world.log.head(alice.did).commit
    assert shown.uri.rkey == key(1)
    kinds = [event.kind for event in await world.log.read_firehose(after, 10)]
    assert kinds == ["account", "identity", "account", "sync"]


async def test_a_taken_down_account_is_closed_to_all_but_a_narrow_session(world):
    alice = await world.account("alice")
    token_id = world.pds.tokens.verify_refresh(alice.refresh).token_id

    await world.pds.takedowns.take_down(alice.did, "case 7")
    errors = [
        await refused(world.pds.create_session("alice.test", PASSWORD)),
        await refused(world.post(alice.did)),
        await refused(world.pds.refresh_session(alice.did, token_id)),
        await refused(world.pds.upload_blob(alice.did, pieces(b"x"), "text/plain")),
        await refused(world.pds.sync.latest_commit(alice.did)),
    ]
    narrow = await world.pds.create_session("alice.test", PASSWORD, allow_takendown=True)
    with pytest.raises(XrpcError, match="Bad token scope"):
        world.pds.authenticate(narrow.access)
    await world.restart()
    held = world.pds.takedowns.takedown(alice.did)
    await world.pds.takedowns.take_down(alice.did, None)

    assert [error.name for error in errors] == ["AccountTakedown"] * 4 + ["RepoTakendown"]
    assert (narrow.active, narrow.status) == (False, "takendown")
    assert held.reference == "case 7"
    assert (await world.post(alice.did)).commit is not None


async def test_a_taken_down_record_is_not_shown(world):
    alice = await world.account()
    applied = await world.post(alice.did, "bad", key(1))
    await world.post(alice.did, "good", key(2))

    await world.pds.takedowns.take_down(applied.results[0].uri, "case 8")
    await world.restart()
    error = await refused(world.pds.get_record(alice.did, POST, key(1)))
    listed, _ = await world.pds.list_records(alice.did, POST)

    assert error.name == "RecordNotFound"
    assert [view.uri.rkey for view in listed] == [key(2)]


async def test_a_new_handle_is_in_the_directory_the_log_and_the_session(world):
    alice = await world.account("alice")
    await world.account("bob")

    taken = await refused(world.pds.update_handle(alice.did, "bob.test"))
    reserved = await refused(world.pds.update_handle(alice.did, "admin.test"))
    await world.pds.update_handle(alice.did, "Alicia.test")
    await world.restart()

    assert (taken.name, reserved.name) == ("HandleNotAvailable", "HandleNotAvailable")
    assert (await world.pds.get_session(alice.did)).handle == "alicia.test"
    assert (await world.resolver.did_document(alice.did)).handles == ("alicia.test",)
    assert world.log.head(alice.did).handle == "alicia.test"
    assert await world.pds.resolve_handle("alicia.test") == alice.did
    assert (await refused(world.pds.resolve_handle("alice.test"))).message == "Unable to resolve handle"
    assert (await world.account("alice", email="other@example.com")).handle == "alice.test"


async def test_a_domain_of_ones_own_is_taken_when_it_points_to_the_account(world):
    alice = await world.account("alice")

    early = await refused(world.pds.update_handle(alice.did, "alice.dev"))
    world.dns.names["alice.dev"] = alice.did
    await world.pds.update_handle(alice.did, "alice.dev")

    assert early.message == "External handle did not resolve to DID"
    assert (await world.pds.describe_repo(alice.did)).handle_is_correct
    assert await world.resolver.verified_handle(alice.did) == "alice.dev"


async def test_deletion_wants_password_and_mailed_token_and_leaves_nothing(world):
    alice = await world.account("alice")
    blob = await world.pds.upload_blob(alice.did, pieces(b"some text"), "text/plain")
    await world.post(alice.did)
    await world.pds._parts.heads.flush_all()
    file, blob_file = world.file(alice.did), world.pds._parts.blobs._files.path(alice.did, blob.cid)
    assert file.exists()
    assert blob_file.exists()

    await world.pds.request_account_delete(alice.did)
    token = mailed_token(world)
    errors = [
        await refused(world.pds.delete_account(alice.did, "wrong", token)),
        await refused(world.pds.delete_account(alice.did, PASSWORD, "AAAAA-AAAAA")),
    ]
    await world.pds.delete_account(alice.did, PASSWORD, token)
    await world.restart()

    assert [(error.name, error.status) for error in errors] == [("AuthenticationRequired", 401), ("InvalidToken", 400)]
    assert not file.exists()
    assert not blob_file.exists()
    assert world.log.head(alice.did).status == "deleted"
    assert world.log.paths(alice.did) == []
    assert (await refused(world.pds.sync.latest_commit(alice.did))).name == "RepoNotFound"
    assert (await refused(world.pds.create_session("alice.test", PASSWORD))).status == 401
    assert (await world.account("alice")).did != alice.did


async def test_a_mailed_token_expires(world):
    alice = await world.account("alice")
    await world.pds.request_account_delete(alice.did)
    world.now += 16 * 60 * 1_000_000

    error = await refused(world.pds.delete_account(alice.did, PASSWORD, mailed_token(world)))

    assert error.name == "ExpiredToken"


async def moving(world, handle="mover.test") -> tuple[Did, PrivateKey, PrivateKey]:
    """An account that lives elsewhere: its DID, its rotation key, its signing key."""
    rotation, signing = PrivateKey.generate(), PrivateKey.generate()
    op = plc_op.account(signing.public.did_key, handle, "https://elsewhere.test", [rotation.public.did_key])
    signed = plc_op.sign(op, rotation)
    did = plc_op.parse(signed).did
    await world.plc.submit(did, signed)
    return did, rotation, signing


async def test_an_account_that_moves_here_needs_proof_and_starts_deactivated(world):
    did, rotation, _ = await moving(world)
    claim = {"handle": "mover.test", "email": "m@example.com", "password": PASSWORD, "did": did}

    unproven = await refused(world.pds.create_account(**claim))
    session = await world.pds.create_account(**claim, requester=did)
    early = await refused(world.pds.activate_account(did))
    status = await world.pds.check_account_status(did)
    quiet = await world.log.read_firehose(0, 10)

    assert unproven.status == 401
    assert (session.active, session.status) == (False, "deactivated")
    assert early.name == "InvalidRequest"
    assert (status.activated, status.valid_did, status.counts.records) == (False, False, 0)
    assert [event.kind for event in quiet] == ["account"]

    last = plc_op.parse(await world.plc.last(did))
    ours = world.pds._parts.accounts.get(did).key.public.did_key
    services = {"atproto_pds": {"type": plc_op.PDS_SERVICE, "endpoint": PUBLIC_URL}}
    op = plc_op.updated(last, verification_methods={"atproto": ours}, services=services)
    await world.plc.submit(did, plc_op.sign(op, rotation))
    await world.pds.activate_account(did)
    assert (await world.pds.check_account_status(did)).valid_did
    assert (await world.post(did)).commit is not None


async def test_describing_a_repo_whose_document_is_gone_says_so(world, monkeypatch):
    alice = await world.account("alice")
    world.pds._parts.did_docs.forget(alice.did)

    async def absent(did):
        raise IdentityRefused(IdentityReason.NOT_FOUND, did)

    monkeypatch.setattr(world.plc, "document", absent)
    error = await refused(world.pds.describe_repo(alice.did))

    assert error.message == f"Could not resolve DID: Error: Could not resolve DID: {alice.did}"


async def test_repos_are_listed_in_order_of_creation_with_their_state(world):
    dids = [(await world.account()).did for _ in range(5)]
    await world.pds.deactivate_account(dids[1])

    first, cursor = world.pds.sync.list_repos(limit=3)
    rest, end = world.pds.sync.list_repos(limit=3, cursor=cursor)

    assert [status.did for status in (*first, *rest)] == dids
    assert world.pds.sync.list_repos(limit=3, cursor=end) == ([], None)
    assert [status.status for status in first] == [None, "deactivated", None]
    with pytest.raises(XrpcError, match="cursor"):
        world.pds.sync.list_repos(cursor="nonsense")


async def test_secrets_are_closed_to_other_users(world):
    await world.account()
    await world.pds._parts.heads.flush_all()

    modes = {
        path.name: path.stat().st_mode & 0o077
        for path in (world.directory, *world.directory.rglob("*"))
        if path.is_file() and not path.name.startswith(("log.sqlite", "plc.sqlite"))
    }

    assert {"accounts.sqlite", "jwt_secret", "plc_rotation_key"} <= modes.keys()
    assert set(modes.values()) == {0}
    assert world.directory.stat().st_mode & 0o077 == 0
