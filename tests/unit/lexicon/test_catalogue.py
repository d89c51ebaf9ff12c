"""The catalogue of the official lexicons as a whole, and the keys of its records."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from schemas.lexicon import LexiconReason, LexiconRefused, load


def test_the_catalogue_knows_every_official_method() -> None:
    methods = load().methods

    by_kind = Counter((nsid.split(".")[0], method.kind) for nsid, method in methods.items())
    assert by_kind[("com", "subscription")] == 2
    assert by_kind[("app", "query")] > 80
    assert len(methods) > 300
    assert list(methods) == sorted(methods)
    assert methods["com.atproto.repo.createRecord"] is load().method("com.atproto.repo.createRecord")
    assert methods["com.atproto.repo.createRecord"].errors == {"InvalidSwap"}


def reason_of(judge: Callable[[], object]) -> LexiconReason | None:
    try:
        judge()
    except LexiconRefused as refused:
        return refused.reason
    return None


def test_every_validator_of_the_catalogue_compiles() -> None:
    reasons = Counter(
        reason_of(judge)
        for method in load().methods.values()
        for judge in (
            partial(method.check_input, None),
            partial(method.check_output, None),
            partial(method.params, {}),
        )
    )

    assert reasons.keys() == {None, LexiconReason.TYPE, LexiconReason.REQUIRED}
    assert reasons[LexiconReason.TYPE] > 300


def test_every_record_of_the_catalogue_compiles() -> None:
    collections = [nsid for nsid in load().documents if load().record_key_rule(nsid) is not None]

    reasons = {reason_of(partial(load().check_record, nsid, {"$type": nsid})) for nsid in collections}

    assert len(collections) >= 20
    assert reasons == {None, LexiconReason.REQUIRED}


def test_what_is_no_method_is_none() -> None:
    assert load().method("app.bsky.feed.post") is None
    assert load().method("com.example.method") is None
    assert load().method("../../etc/passwd") is None


def test_the_catalogue_is_loaded_once() -> None:
    assert load() is load()


def test_lexrpc_is_read_and_never_imported() -> None:
    code = "import sys, schemas.lexicon as l; l.load().methods; print('lexrpc' in sys.modules)"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("collection", "rule"),
    [
        ("app.bsky.feed.post", "tid"),
        ("app.bsky.actor.profile", "literal:self"),
        ("app.bsky.feed.generator", "any"),
        ("com.atproto.lexicon.schema", "nsid"),
        ("com.example.thing", None),
        ("app.bsky.feed.getTimeline", None),
    ],
)
def test_the_rule_of_keys_is_the_lexicons(collection: str, rule: str | None) -> None:
    assert load().record_key_rule(collection) == rule


@pytest.mark.parametrize(
    ("collection", "rkey"),
    [
        ("app.bsky.feed.post", "3kznmn7xqxl22"),
        ("app.bsky.actor.profile", "self"),
        ("app.bsky.feed.generator", "whats-hot"),
        ("com.atproto.lexicon.schema", "com.example.thing"),
        ("com.example.thing", "a:b~c"),
    ],
)
def test_a_key_within_the_rule_is_allowed(collection: str, rkey: str) -> None:
    load().check_key(collection, rkey)


@pytest.mark.parametrize(
    ("collection", "rkey", "message"),
    [
        ("app.bsky.feed.post", "self", "Record key must be a valid TID, found 'self'"),
        ("app.bsky.actor.profile", "3kznmn7xqxl22", "Record key must be literal:self, found '3kznmn7xqxl22'"),
        ("app.bsky.feed.generator", "a/b", "Record key must be a valid Record Key, found 'a/b'"),
        ("com.atproto.lexicon.schema", "thing", "Record key must be a valid nsid, found 'thing'"),
        ("com.example.thing", "..", "Record key must be a valid Record Key, found '..'"),
        ("com.example.thing", "a" * 513, f"Record key must be a valid Record Key, found '{'a' * 80}'"),
    ],
)
def test_a_key_beyond_the_rule_is_refused(collection: str, rkey: str, message: str) -> None:
    with pytest.raises(LexiconRefused) as refused:
        load().check_key(collection, rkey)

    assert str(refused.value) == message
    assert refused.value.reason is LexiconReason.KEY
