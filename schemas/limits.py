"""Every limit of the protocol, named once, with where it comes from.

Sources: specs = https://atproto.com/specs/<page>; validation = https://atproto.com/guides/data-validation;
indigo = github.com/bluesky-social/indigo; pds = the reference PDS. Sizes are bytes unless the name says otherwise.

Does not own an operator's limits (rate limits, cache sizes): those are settings.
"""

from __future__ import annotations

from typing import Final

# Identifiers
DID_MAX: Final = 2_048  # specs/did
HANDLE_MAX: Final = 253  # specs/handle
NSID_MAX: Final = 317  # specs/nsid: 253 of authority, a dot, 63 of name
RKEY_MAX: Final = 512  # specs/record-key
AT_URI_MAX: Final = 8_192  # specs/at-uri-scheme
URI_MAX: Final = 8_192  # specs/lexicon, format uri
DATETIME_MAX: Final = 64  # the reference's syntax package
LANGUAGE_MAX: Final = 128  # the reference's syntax package
LABEL_VALUE_MAX: Final = 128  # specs/label
CID_TEXT_MIN: Final = 8  # the reference's syntax package
CID_TEXT_MAX: Final = 256  # the reference's syntax package

# The data model
RECORD_CBOR_MAX: Final = 1_048_576  # validation: the decoder's ceiling
RECORD_JSON_MAX: Final = 2_097_152  # validation
RECORD_BLOCK_MAX: Final = 1_000_000  # specs/sync: at write and on the wire
CBOR_DEPTH_MAX: Final = 32  # validation: containers within containers
CBOR_CONTAINER_MAX: Final = 131_072  # validation: entries of one map or array
CBOR_CONTAINERS_MAX: Final = 131_072  # ours: maps and arrays of one value; an empty one is 1 byte on the wire, 64 here
CBOR_KEY_MAX: Final = 8_192  # validation: UTF-8 bytes of one map key
CID_MAX: Final = 100  # validation: bytes of a binary CID
INT_MIN: Final = -(2**63)  # specs/data-model: signed 64 bit
INT_MAX: Final = 2**63 - 1

# The event stream and the repo
FRAME_MAX: Final = 5_000_000  # specs/sync: one websocket message
COMMIT_BLOCKS_MAX: Final = 2_000_000  # specs/sync; indigo verify.go MaxMessageBlocksBytes
COMMIT_OPS_MAX: Final = 200  # specs/sync; indigo verify.go MaxCommitOps
SYNC_BLOCKS_MAX: Final = 10_000  # lexicon com.atproto.sync.subscribeRepos#sync
SEQ_MAX: Final = 2**53 - 1  # specs/event-stream
FUTURE_REV_MICROS: Final = 5 * 60 * 1_000_000  # indigo verify.go: a rev further ahead of the clock is refused
REV_AHEAD_MICROS: Final = 4 * 60 * 1_000_000  # a PDS this far ahead of its clock answers 503 rather than be dropped
MST_NODE_ENTRIES_MAX: Final = 155  # specs/repository: P(n) = 0.75^n is below 2^-64

# Requests
APPLY_WRITES_MAX: Final = 200  # lexicon com.atproto.repo.applyWrites; pds
PREFERENCES_MAX: Final = 262_144  # ours: all of one account's, as JSON
SERVICE_JWT_SECONDS: Final = 60  # specs/xrpc

# did:plc (https://web.plc.directory/spec/v0.1/did-plc)
PLC_OPERATION_MAX: Final = 4_000
PLC_ALSO_KNOWN_AS_MAX: Final = 10
PLC_ALSO_KNOWN_AS_CHARS: Final = 258
PLC_ROTATION_KEYS_MAX: Final = 10
PLC_SERVICES_MAX: Final = 10
PLC_VERIFICATION_METHODS_MAX: Final = 10
PLC_RECOVERY_MICROS: Final = 72 * 3600 * 1_000_000
PLC_OPERATIONS_HOUR: Final = 10
PLC_OPERATIONS_DAY: Final = 30
PLC_OPERATIONS_WEEK: Final = 100
