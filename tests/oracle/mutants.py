"""Is the oracle awake? Each mutant breaks one rule in a copy of the tree; what is said to notice must fail.

`python tests/oracle/mutants.py [WORD]` runs those whose name has WORD. It prints the score; exit code 1 if one lives.
A mutant whose text is not found any more is an error: rewrite it with the code.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.mutants.machine import Mutant, by_tests, main

# What may notice besides the soak.
ROWS = by_tests("tests/oracle/test_same_rows.py")
ORDERS = by_tests("tests/oracle/test_timeline_orders.py")
OPERATIONS = by_tests("tests/views/test_operations.py", "-m", "not cluster")
VIEWS_CRASH = by_tests("tests/chaos/test_views_crash.py")
NETWORK_CRASH = by_tests("tests/chaos/test_network_crash.py")

MUTANTS = (
    Mutant(
        "duplicate messages are let in",
        "processors/marks.py",
        "if newest is not None and place <= newest:",
        "if False:",
        ROWS,
    ),
    Mutant(
        "the newest duplicate counts, not the smallest key",
        "processors/step.py",
        "if old is None or row[:size] <= old[:size]:",
        "if True:",
    ),
    Mutant(
        "when the one that counts goes nobody follows it",
        "processors/step.py",
        "new = left[0] if left else None",
        "new = None",
    ),
    Mutant(
        "an older key does not take over",
        "processors/step.py",
        "if old is None or row[:size] <= old[:size]:",
        "if old is None:",
    ),
    Mutant(
        "what is gone stays in the tables of the record's shard",
        "processors/step.py",
        "        for key in gone:\n            overlay.delete(table, key)\n        if feed.first is None:",
        "        if feed.first is None:",
    ),
    Mutant(
        "what is gone stays in the tables of the subject's shard",
        "views/fold.py",
        "    for key in edge.drops:\n        overlay.delete(table, key)\n",
        "",
    ),
    Mutant("counts only rise", "views/fold.py", "values[place] += delta", "values[place] += max(delta, 0)"),
    Mutant(
        "created in the future, sorted in the future",
        "views/record.py",
        "        min(created, first_time),\n",
        "        created,\n",
    ),
    Mutant(
        "an update makes a record new",
        "ingest/derive.py",
        "first = time if place is None else place[1]\n            now = (offset, first)",
        "first = time\n            now = (offset, first)",
    ),
    Mutant(
        "a retried commit is accepted",
        "ingest/verdict.py",
        "entry.rev <= head.rev:\n        return _not_above",
        "entry.rev < head.rev:\n        return _not_above",
    ),
    Mutant(
        "any commit extends any repo",
        "ingest/verdict.py",
        "if entry.prev_data != head.data:",
        "if False:",
    ),
    Mutant(
        "a deleted account keeps its records",
        "ingest/derive.py",
        "for path, (at, first) in live[:room]:",
        "for path, (at, first) in ():",
    ),
    Mutant(
        "a takedown is undone by a change of state",
        "ingest/log.py",
        'return "takendown" if self.taken_down and',
        'return "takendown" if False and',
    ),
    Mutant("invalid records count", "processors/decode.py", "self._catalogue.check_record(collection, value)", "pass"),
    Mutant(
        "keys of any form count", "processors/decode.py", "self._catalogue.check_key(collection, entry.rkey)", "pass"
    ),
    Mutant(
        "replies to others are among an author's threads",
        "views/author_feed.py",
        'elif reply["root"]["uri"].startswith(f"at://{did}/"):',
        "else:",
    ),
    Mutant(
        "a new follower is given nothing",
        "views/followers.py",
        "    if puts or complete_since is not None:",
        "    if False:",
        ORDERS,
    ),
    Mutant(
        "what a new follower was not given is forgotten",
        "views/followers.py",
        "    if len(recent) > keep:",
        "    if False:",
        ORDERS,
    ),
    Mutant(
        "a trimmed feed says that it is whole",
        "views/recent_by_author.py",
        "        trimmed = await _trim(",
        "        await _trim(",
        ORDERS,
    ),
    Mutant(
        "pulled posts are read from nowhere",
        "views/timeline_read.py",
        "        for author in pulled:",
        "        for author in ():",
        ORDERS,
    ),
    Mutant(
        "a big author is forgotten with the first pull that goes",
        "views/recent_by_author.py",
        "if touched and pulls > 0:",
        "if touched and pulls > 0 and edge.puts:",
        ORDERS,
    ),
    Mutant(
        "a trimmed timeline says that it is whole",
        "processors/folding.py",
        "        await _raise_complete_since(reader, rows[0][1], offset, overlay)\n",
        "",
        ORDERS,
    ),
    Mutant(
        "who was unfollowed stays in the timeline",
        "views/timeline_read.py",
        "items = [item for item in items if item[3] in followed]",
        "pass",
        ORDERS,
    ),
    Mutant(
        "a post that moved stays where it was",
        "views/timeline_read.py",
        "return bool(post[_POST_SORT_AT] == item.sort_at)",
        "return True",
        ORDERS,
    ),
    Mutant(
        "a reader's own posts are not in the timeline",
        "views/timeline_read.py",
        "        parts += await self._feeds([reader], after, until, many)\n",
        "",
        ORDERS,
    ),
    Mutant(
        "complete_since is not looked at",
        "views/timeline_read.py",
        "since: int | None = None if statics is None else statics[0]",
        "since: int | None = None",
        ORDERS,
    ),
    Mutant("a gate lets everybody in", "api/appview/gates.py", "if did == owner or not rules & CLOSED:", "if True:"),
    Mutant("a gate rules over what was there", "api/appview/gates.py", "row[_INDEXED_AT] < gate[_SINCE]", "False"),
    Mutant(
        "an answer's own date is believed",
        "api/appview/gates.py",
        'posts.TABLE.index("indexed_at")',
        'posts.TABLE.index("sort_at")',
    ),
    Mutant(
        "a gate that is taken down rules",
        "api/appview/gates.py",
        "gate is None or loaded.taken[gate[_URI]] is not None",
        "gate is None",
    ),
    Mutant(
        "a gate lets in whom its owner does not follow",
        "api/appview/gates.py",
        "loaded.follows[owner, did] is not None",
        "True",
    ),
    Mutant("a detached quote is shown", "api/appview/gates.py", 'uri in gate[_DETACHED].split(" ")', "False"),
    Mutant(
        "a gate rules over any post that it names",
        "views/restrictions.py",
        '    if gate.value["post"] != post:\n        return None\n',
        '    post = gate.value["post"]\n',
    ),
    Mutant("blocks do not hide", "api/appview/rules.py", "return did in loaded.blocked", "return False"),
    Mutant("blocks hide one way", "api/appview/relations.py", "self.blocked.add(row[0])", "pass"),
    Mutant(
        "blocks of others hide nothing",
        "api/appview/rules.py",
        "    if one == other:\n        return False\n",
        "    return False\n",
    ),
    Mutant("suspended accounts are shown", "api/appview/rules.py", '"suspended", ', ""),
    Mutant("records taken down are shown", "api/appview/rules.py", "loaded.taken[uri] is not None or ", ""),
    Mutant("a page begins with the last of the page before", "views/sqlite_sql.py", "{'=' if upper else ''}", "="),
    Mutant(
        "progress is saved before the rows",
        "views/store_sqlite.py",
        '        writer.execute("BEGIN IMMEDIATE")\n',
        '        self._write_progress(batch)\n        writer.execute("BEGIN IMMEDIATE")\n',
        VIEWS_CRASH,
    ),
    Mutant(
        "a row in memory outlives its change",
        "views/store_cached.py",
        "                        rows.forget(whole)\n",
        "",
    ),
    Mutant(
        "the first row of a prefix in memory outlives its change",
        "views/store_cached.py",
        "                        rows.forget(whole[:-1])\n",
        "",
    ),
    Mutant(
        "a slice in memory outlives its change",
        "views/store_cached.py",
        "                    slices.forget(partition)\n",
        "                    pass\n",
    ),
    Mutant(
        "counts in memory outlive their change",
        "views/store_cached.py",
        "                for partition in statics:\n                    rows.forget(partition)\n",
        "                pass\n",
    ),
    Mutant(
        "an account that a crash left half made stays half made",
        "ingest/pds/parts.py",
        "        await self.creation.settle_pending()\n        await self.announcer",
        "        await self.announcer",
        NETWORK_CRASH,
    ),
    Mutant(
        "what is set again leaves its old place in a list",
        "processors/operating.py",
        "            if row[:size] not in kept:\n                overlay.delete(feed.table, row[:size])\n",
        "            pass\n",
        OPERATIONS,
    ),
    Mutant(
        "an operation that is done is done again",
        "processors/operating.py",
        "if old is not None and old[_OFFSET] >= operation.offset:",
        "if False:",
        OPERATIONS,
    ),
    Mutant(
        "who is muted is in the timeline",
        "api/app/bsky/feed/get_timeline.py",
        " and not feed.is_muted(loaded, item)",
        "",
        OPERATIONS,
    ),
    Mutant(
        "a deleted account's mutes stay",
        "ingest/log_sqlite/batch.py",
        "        return len(keys) <= room\n",
        "        self.operations.clear()\n        return True\n",
        by_tests("tests/contracts/test_operations.py"),
    ),
)


if __name__ == "__main__":
    sys.exit(main(MUTANTS, sys.argv[1:]))
