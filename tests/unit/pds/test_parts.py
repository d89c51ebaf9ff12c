"""Small parts that scenarios do not reach from every side."""

from __future__ import annotations

import asyncio

import pytest

from ingest.pds.handles import check_new_handle
from ingest.pds.mail import Mailbox
from ingest.pds.mime import sniff
from ingest.pds.passwords import Passwords
from ingest.pds.settings import PdsSettings
from ingest.pds.tokens import Tokens
from schemas.errors import XrpcError
from schemas.syntax import Did
from tests.support.pds_world import World


@pytest.mark.parametrize(
    ("first", "mime"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(20), "image/jpeg"),
        (b"GIF89a" + bytes(20), "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(20), "video/mp4"),
        (b"\x00\x00\x00\x20ftypavif" + bytes(20), "image/avif"),
        (b"OggS\x00\x02" + bytes(20), "audio/ogg"),
        (b"BM it starts, and is text", None),
        (b"<html>", None),
        (b"", None),
        (bytes(100), None),
    ],
)
def test_types_are_told_by_their_first_bytes(first, mime):
    assert sniff(first) == mime


@pytest.mark.parametrize("handle", ["abc.test", "a" * 25 + ".test", "a-b.test", "ABC.test"])
def test_good_handles_are_taken_in_lower_case(handle):
    assert check_new_handle(handle, (".test",)) == handle.lower()


async def test_passwords_are_argon2id_and_hash_beside_the_loop():
    passwords = Passwords(PdsSettings())

    hashed = await passwords.hash("hunter22")

    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.verify(hashed, "hunter22")
    assert not await passwords.verify(hashed, "hunter23")
    assert not await passwords.verify(None, "hunter22")
    assert not await passwords.verify("not a hash", "hunter22")
    with pytest.raises(XrpcError, match="256"):
        await passwords.hash("x" * 257)
    passwords.close()


def test_verified_tokens_are_remembered_in_bounds_and_still_expire(monkeypatch):
    monkeypatch.setattr("ingest.pds.tokens._CACHE_SIZE", 3)
    now = [1000.0]
    tokens = Tokens(b"s" * 64, "did:web:pds.test", 60, 600, lambda: now[0])
    minted = [tokens.access(Did(f"did:plc:{number}")) for number in range(5)]

    for token in minted:
        assert tokens.verify_access(token).did.startswith("did:plc:")
    remembered = len(tokens._verified)
    now[0] += 61
    with pytest.raises(XrpcError, match="ExpiredToken"):
        tokens.verify_access(minted[4])

    assert remembered == 3
    assert len(tokens._verified) == 2


def test_mail_is_kept_as_files_up_to_a_thousand(tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.pds.mail._KEPT", 3)
    mailbox = Mailbox(tmp_path / "mail", "pds@example.com")

    paths = [mailbox.send("a@example.com", "Subject", f"text {number}", 1_700_000_000.0) for number in range(5)]

    assert sorted((tmp_path / "mail").iterdir()) == paths[2:]
    assert "text 4" in paths[4].read_text()


async def test_a_part_that_fails_by_itself_is_reported(tmp_path):
    world = await World(tmp_path, {"flush_interval": 0.0}).open()
    alice = await world.account()
    stopped = asyncio.ensure_future(world.pds.stopped())

    def fail(flush):  # noqa: ARG001
        raise OSError("no space left")

    (await world.pds._parts.heads.get(alice.did)).file.flush = fail
    await world.post(alice.did)
    error = await stopped

    assert isinstance(error, OSError)
    del (await world.pds._parts.heads.get(alice.did)).file.flush
    await world.close()
