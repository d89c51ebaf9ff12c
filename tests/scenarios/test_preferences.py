"""What clients keep at their PDS, over HTTP."""

from __future__ import annotations

import apsw
import orjson

from ingest.pds.accounts_schema import connect
from schemas.limits import PREFERENCES_MAX

GET, PUT = "app.bsky.actor.getPreferences", "app.bsky.actor.putPreferences"
ADULT = {"$type": "app.bsky.actor.defs#adultContentPref", "enabled": True}
MUTED = {
    "$type": "app.bsky.actor.defs#mutedWordsPref",
    "items": [{"value": "spoiler", "targets": ["content"], "actorTarget": "all"}],
}
UNKNOWN = {"$type": "app.bsky.actor.defs#ofNextYearPref", "any": [1, None, {"deep": "ü", "bytes": {"$bytes": "AAEC"}}]}


async def test_preferences_are_given_back_as_they_were_put_to_their_owner_alone(house):
    alice, bob = await house.join("alice"), await house.join("bob")
    assert (await house.get(GET, alice.auth)).body == {"preferences": []}

    for said in ([ADULT, MUTED, UNKNOWN], [UNKNOWN], [], [MUTED, ADULT]):
        answer = await house.post(PUT, {"preferences": said}, alice.auth)
        assert (answer.status, answer.body) == (200, b"")
        assert (await house.get(GET, alice.auth)).body == {"preferences": said}

    assert (await house.get(GET, bob.auth)).body == {"preferences": []}
    assert (await house.get(GET)).error == (401, "AuthMissing")
    assert (await house.post(PUT, {"preferences": []})).error == (401, "AuthMissing")


async def test_nothing_of_preferences_is_in_a_repo_or_in_the_log(house):
    alice = await house.join("alice")

    def logged():
        log = apsw.Connection(str(house.settings.data / "log.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
        tables = ("commits", "records", "operations")
        return [log.execute(f"SELECT count(*) FROM {table}").fetchall() for table in tables]

    before = logged()
    await house.post(PUT, {"preferences": [ADULT]}, alice.auth)

    assert (await house.get(GET, alice.auth)).body == {"preferences": [ADULT]}
    assert logged() == before


async def test_what_cannot_be_kept_is_refused_and_changes_nothing(house):
    alice = await house.join("alice")
    large = {"$type": "app.bsky.actor.defs#ofNextYearPref", "text": ""}
    large["text"] = "x" * (PREFERENCES_MAX - len(orjson.dumps([large])))
    larger = {**large, "text": large["text"] + "x"}
    assert (await house.post(PUT, {"preferences": [large]}, alice.auth)).status == 200

    for said in ([{"enabled": True}], [ADULT, {"$type": "com.example.pref"}], ["text"], [larger]):
        answer = await house.post(PUT, {"preferences": said}, alice.auth)
        assert answer.error == (400, "InvalidRequest"), said

    assert (await house.get(GET, alice.auth)).body == {"preferences": [large]}


async def test_they_go_with_their_account(house):
    alice, bob = await house.join("alice"), await house.join("bob")
    for each in (alice, bob):
        await house.post(PUT, {"preferences": [ADULT]}, each.auth)

    assert (await house.post("com.atproto.admin.deleteAccount", {"did": alice.did}, house.admin)).status == 200

    accounts = apsw.Connection(str(house.settings.data / "accounts.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    assert accounts.execute("SELECT did FROM preferences").fetchall() == [(bob.did,)]


def test_a_file_of_accounts_that_is_older_than_they_are_is_given_their_table(tmp_path):
    older = connect(tmp_path / "accounts.sqlite")
    older.execute("DROP TABLE preferences")
    older.close()

    newer = connect(tmp_path / "accounts.sqlite")

    assert newer.execute("SELECT count(*) FROM preferences").fetchall() == [(0,)]
    newer.close()
