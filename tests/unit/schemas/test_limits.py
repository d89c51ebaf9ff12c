"""Each limit of the protocol is used, and held at its value and one past it by the test named here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas import limits

ROOT = Path(__file__).parents[3]
SYNTAX, CBOR, DATA = (f"tests/unit/schemas/test_{name}.py" for name in ("syntax", "cbor", "data"))
VERIFY, PLC = "tests/unit/repo/test_verify.py", "tests/unit/identity/test_plc.py"
WRITES = "tests/scenarios/test_bad_writes.py"
SHOWN = {
    "DID_MAX": (SYNTAX, "test_each_length_is_held_at_the_limit_and_one_past_it"),
    "HANDLE_MAX": (SYNTAX, "test_each_length_is_held_at_the_limit_and_one_past_it"),
    "NSID_MAX": (SYNTAX, "test_each_length_is_held_at_the_limit_and_one_past_it"),
    "RKEY_MAX": (SYNTAX, "test_each_length_is_held_at_the_limit_and_one_past_it"),
    "AT_URI_MAX": (SYNTAX, "test_an_at_uri_and_a_cid_text_have_their_limits"),
    "URI_MAX": (SYNTAX, "test_each_length_is_held_at_the_limit_and_one_past_it"),
    "DATETIME_MAX": (
        "tests/unit/schemas/test_datetimes.py",
        "test_a_fraction_has_twenty_digits_at_most_so_that_no_moment_reaches_the_limit",
    ),
    "LANGUAGE_MAX": (SYNTAX, "test_each_length_is_held_at_the_limit_and_one_past_it"),
    "LABEL_VALUE_MAX": (WRITES, "test_lexicons_hold_in_every_way_to_write"),
    "CID_TEXT_MIN": (SYNTAX, "test_an_at_uri_and_a_cid_text_have_their_limits"),
    "CID_TEXT_MAX": (SYNTAX, "test_each_length_is_held_at_the_limit_and_one_past_it"),
    "RECORD_CBOR_MAX": (CBOR, "test_size_is_held_at_the_limit_and_one_past_it"),
    "RECORD_JSON_MAX": (DATA, "test_text_is_held_at_the_limit_in_bytes_and_one_past_it"),
    "RECORD_BLOCK_MAX": (WRITES, "test_a_record_of_a_million_bytes_is_taken_and_one_byte_more_is_not"),
    "CBOR_DEPTH_MAX": (CBOR, "test_depth_is_held_at_the_limit_and_one_past_it"),
    "CBOR_CONTAINER_MAX": (CBOR, "test_containers_are_held_at_the_limit_and_one_past_it"),
    "CBOR_CONTAINERS_MAX": (CBOR, "test_the_containers_of_one_value_are_held_at_the_limit_and_one_past_it"),
    "CBOR_KEY_MAX": (CBOR, "test_keys_are_held_at_the_limit_in_bytes_and_one_past_it"),
    "CID_MAX": ("tests/unit/schemas/test_cid.py", "test_a_cid_may_have_as_many_bytes_as_the_limit_and_no_more"),
    "INT_MIN": (CBOR, "test_integers_have_64_bits_with_sign"),
    "INT_MAX": (CBOR, "test_integers_have_64_bits_with_sign"),
    "FRAME_MAX": ("tests/unit/repo/test_frame.py", "test_a_frame_is_bounded"),
    "COMMIT_BLOCKS_MAX": (WRITES, "test_a_commit_of_two_million_bytes_is_taken_and_one_byte_more_is_not"),
    "COMMIT_OPS_MAX": (VERIFY, "test_operations_are_bounded"),
    "SYNC_BLOCKS_MAX": (VERIFY, "test_a_false_sync_is_refused"),
    "SEQ_MAX": ("tests/unit/repo/test_frame.py", "test_a_malformed_frame_is_refused_with_its_reason"),
    "FUTURE_REV_MICROS": (VERIFY, "test_revs_must_rise_and_not_lead_the_clock"),
    "REV_AHEAD_MICROS": (
        "tests/scenarios/test_pds_writes.py",
        "test_a_rev_four_minutes_ahead_of_the_clock_is_answered_with_503",
    ),
    "MST_NODE_ENTRIES_MAX": ("tests/unit/repo/test_node.py", "test_entries_are_bounded"),
    "APPLY_WRITES_MAX": (WRITES, "test_two_hundred_writes_are_one_commit_and_one_more_is_none"),
    "PREFERENCES_MAX": (
        "tests/scenarios/test_preferences.py",
        "test_what_cannot_be_kept_is_refused_and_changes_nothing",
    ),
    "SERVICE_JWT_SECONDS": (
        "tests/unit/identity/test_service_auth.py",
        "test_a_token_lives_sixty_seconds_unless_told_otherwise",
    ),
    "PLC_OPERATION_MAX": (PLC, "test_an_operation_of_4000_bytes_is_taken_and_one_of_4001_is_not"),
    "PLC_ALSO_KNOWN_AS_MAX": (PLC, "test_each_limit_holds_and_one_past_it_is_refused"),
    "PLC_ALSO_KNOWN_AS_CHARS": (PLC, "test_each_limit_holds_and_one_past_it_is_refused"),
    "PLC_ROTATION_KEYS_MAX": (PLC, "test_each_limit_holds_and_one_past_it_is_refused"),
    "PLC_SERVICES_MAX": (PLC, "test_each_limit_holds_and_one_past_it_is_refused"),
    "PLC_VERIFICATION_METHODS_MAX": (PLC, "test_each_limit_holds_and_one_past_it_is_refused"),
    "PLC_RECOVERY_MICROS": (PLC, "test_a_higher_key_undoes_within_72_hours_and_not_a_millisecond_later"),
    "PLC_OPERATIONS_HOUR": (PLC, "test_rates_hold_at_the_limit_and_refuse_one_past_it"),
    "PLC_OPERATIONS_DAY": (PLC, "test_rates_hold_at_the_limit_and_refuse_one_past_it"),
    "PLC_OPERATIONS_WEEK": (PLC, "test_rates_hold_at_the_limit_and_refuse_one_past_it"),
}
HELD_BY_A_LEXICON = {"LABEL_VALUE_MAX"}


def test_the_list_is_whole() -> None:
    assert SHOWN.keys() == {name for name in vars(limits) if name.isupper()}


@pytest.mark.parametrize("name", SHOWN)
def test_a_limit_is_used_and_shown(name: str) -> None:
    file, test = SHOWN[name]
    assert f"def {test}(" in (ROOT / file).read_text()
    sources = [path for layer in ("schemas", "ingest", "api") for path in (ROOT / layer).rglob("*.py")]
    used = [path for path in sources if path.name != "limits.py" and re.search(rf"\b{name}\b", path.read_text())]
    assert bool(used) is (name not in HELD_BY_A_LEXICON)
