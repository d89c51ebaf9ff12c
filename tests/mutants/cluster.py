"""Ways to break one rule of the cluster's paths: delivery, dedupe, order, verdict, counting, rebuild.

Each names the quickest tests that notice. Which were first predicted wrongly is in docs/reliability.md.
"""

from __future__ import annotations

from typing import Final

from tests.mutants.machine import Mutant, by_tests

LANE: Final = by_tests("tests/unit/processors/test_lane.py")
LANES: Final = by_tests("tests/unit/processors/test_lanes.py")
KNOWN: Final = by_tests("tests/unit/processors/test_known.py")
AHEAD: Final = by_tests("tests/unit/processors/test_ahead.py")
REDO: Final = by_tests("tests/unit/processors/test_lane_redo.py")
ZOMBIE: Final = by_tests("tests/unit/processors/test_lane_zombie.py")
HOPS: Final = by_tests("tests/unit/processors/test_hops_kafka.py")
MARKS: Final = by_tests("tests/unit/processors/test_marks.py", "tests/unit/processors/test_watermarks.py")
DENSITY: Final = by_tests("tests/unit/processors/test_density.py")
SLOT: Final = by_tests("tests/unit/processors/test_slot.py")
ORDER: Final = by_tests("tests/unit/views/test_store_scylla.py", "tests/unit/views/test_cql_order.py")
FOLDING: Final = by_tests("tests/unit/processors/test_folding.py")
VERDICT: Final = by_tests("tests/unit/log/test_verdict.py")
TORN: Final = by_tests("tests/cluster/test_lanes_torn.py")
VERSIONS: Final = by_tests("tests/cluster/test_store_versions.py")
BYTES: Final = by_tests("tests/cluster/test_same_bytes.py")
DERIVED: Final = by_tests("tests/cluster/test_derive_equal.py")
GENERATIONS: Final = by_tests("tests/cluster/test_generations.py")
MOVING: Final = by_tests("tests/unit/processors/test_rebuild_moving.py", "tests/unit/processors/test_digest.py")

MUTANTS: Final = (
    # Delivery and order.
    Mutant(
        "before-images are written before the onward messages are acknowledged",
        "processors/lanes/lane.py",
        "        await self._announce(onward, reaching, traces)\n",
        "        early = overlay.batch()\n"
        "        early.vector = {(self.topic, self.shard): self.offset}\n"
        "        await self._store.apply(early)\n"
        "        await self._announce(onward, reaching, traces)\n",
        LANES,
    ),
    Mutant(
        "progress is saved before the rows",
        "views/store_scylla.py",
        "        for number in range(WAVES):\n            first, last",
        "        await self._session.run(progress)\n        for number in range(WAVES):\n            first, last",
        ORDER,
    ),
    Mutant(
        "a batch is saved before it is sent",
        "processors/lanes/lane.py",
        '        await self._announce(onward, reaching, traces)\n        crash.point("lane.after_send")\n',
        "        await self._save(overlay.batch(), messages[-1].offset)\n"
        "        if onward:\n            await self._announce(onward, reaching, traces)\n"
        "            return True\n",
        LANE,
    ),
    Mutant(
        "a hop's batch counts as sent before it is acknowledged",
        "processors/lanes/hops_kafka.py",
        "await (await self._producer.send_batch(batch, topic, partition=shard))",
        "await self._producer.send_batch(batch, topic, partition=shard)",
        HOPS,
    ),
    Mutant(
        "a hop goes on behind a batch that was not acknowledged",
        "processors/lanes/hops_kafka.py",
        "                if self._failure is not None:\n                    raise self._failure\n",
        "",
        HOPS,
    ),
    Mutant(
        "before-images are no later than other rows",
        "views/cql/order.py",
        "    if table in _BEFORE_IMAGES:\n        return 2\n",
        "",
        ORDER,
    ),
    Mutant(
        "what decides messages is no later than what does not",
        "views/cql/order.py",
        '    return 0 if table.source == "edges" and not counted else 1\n',
        "    return 0\n",
        ORDER,
    ),
    Mutant(
        "a large partition's count comes before its members",
        "views/cql/order.py",
        'return table.source != "edges"',
        "return True",
        ORDER,
    ),
    Mutant(
        "the parts of a large partition are asked for at once",
        "views/store_scylla.py",
        "            await self._write(first)\n            await self._write(last)\n",
        "            await self._write([*first, *last])\n",
        ORDER,
    ),
    Mutant(
        "a count may be older than the first rows that decide it",
        "processors/lanes/known.py",
        "            if table in COUNTED_FIRSTS and read == self._store.get_many:",
        "            if False:",
        ZOMBIE,
    ),
    Mutant(
        "a count is read beside the first rows that decide it",
        "processors/lanes/ahead.py",
        " if table not in COUNTED_FIRSTS),\n",
        "),\n",
        AHEAD,
    ),
    Mutant(
        "what was read beside before-images is believed where somebody was ahead",
        "processors/lanes/ahead.py",
        "        overlay.forget_but(RECORDS)\n",
        "        pass\n",
        AHEAD,
    ),
    Mutant(
        "edges go to the shard of who wrote, not of whom they are about",
        "processors/lanes/stages.py",
        "shard_of(authority(edge.subject), shards)",
        "self._shard",
        LANES,
    ),
    Mutant(
        "what was saved is taken again",
        "processors/lanes/lane.py",
        "fresh = [message for message in messages if message.offset > after]",
        "fresh = list(messages)",
        LANE,
    ),
    Mutant(
        "a lane that is closed gives up the batch in hand",
        "processors/lanes/loop.py",
        "        if not self._busy:\n            task.cancel()\n",
        "        task.cancel()\n",
        LANE,
    ),
    Mutant(
        "the other lanes go on when one has failed",
        "processors/lanes/shards.py",
        "            loop.halt()\n",
        "            pass\n",
        LANE,
    ),
    Mutant(
        "a stream that begins ahead is believed",
        "processors/lanes/slot.py",
        "        if not self._verified and not await self._verify(position):\n            return\n",
        "",
        SLOT,
    ),
    # Dedupe.
    Mutant(
        "sources are not compared behind a hop",
        "processors/marks.py",
        "if newest is not None and place <= newest:",
        "if False:",
        LANES,
    ),
    Mutant(
        "a message's index does not count, its offset alone",
        "processors/marks.py",
        "place <= newest:",
        "place[0] <= newest[0]:",
        MARKS,
    ),
    Mutant(
        "marks are not saved",
        "processors/marks.py",
        "        changed, self.changed = self.changed, {}\n        return changed\n",
        "        self.changed = {}\n        return {}\n",
        LANES,
    ),
    Mutant(
        "an entry whose before-image is there is done again",
        "processors/step.py",
        "if row is not None and row[_OFFSET] >= entry.offset:",
        "if False:",
        LANE,
    ),
    Mutant(
        "a number that came before is taken",
        "processors/lanes/density.py",
        "            if n <= last:\n",
        "            if n < 0:\n",
        DENSITY,
    ),
    Mutant(
        "a hole in records is passed over",
        "processors/lanes/density.py",
        "            if n > last + 1 and last_stamp",
        "            if n < 0 and last_stamp",
        DENSITY,
    ),
    # What a lane knows without asking.
    Mutant(
        "in doubt a lane goes by what it knew",
        "processors/lanes/known.py",
        "        if self.doubtful:\n            self.asked",
        "        if False:\n            self.asked",
        KNOWN,
    ),
    Mutant(
        "what was known before a doubt is believed after it",
        "processors/lanes/known.py",
        "        self.doubtful = True\n        self._young, self._old = {}, {}\n",
        "        self.doubtful = True\n",
        REDO,
    ),
    Mutant(
        "what was in hand may be redone in parts",
        "processors/lanes/lane.py",
        "            if fresh[-1].offset < self._reached:\n",
        "            if fresh[-1].offset < 0:\n",
        REDO,
    ),
    Mutant(
        "what was there once is forgotten for good",
        "processors/lanes/known.py",
        "                there.add((table, key))\n",
        "                pass\n",
        KNOWN,
    ),
    Mutant(
        "what is counted by the rows beside is remembered",
        "processors/lanes/known.py",
        "{followers.TABLE, recent_by_author.TABLE}",
        "{followers.TABLE}",
        KNOWN,
    ),
    Mutant(
        "how many follow is remembered where a post's way is decided",
        "processors/lanes/known.py",
        "{followers.TABLE, recent_by_author.TABLE}",
        "{recent_by_author.TABLE}",
        KNOWN,
    ),
    Mutant(
        "an entry of a time seen before has made its key",
        "processors/lanes/before.py",
        "entry.time > seen",
        "entry.time >= seen",
        KNOWN,
    ),
    Mutant(
        "nobody is ever ahead of a lane",
        "processors/lanes/before.py",
        "        if row[_OFFSET] >= entry.offset if row is not None else not _made(entry):",
        "        if False:",
        KNOWN,
    ),
    Mutant(
        "a lane that was overtaken does everything again",
        "processors/lanes/lane.py",
        "if self._known.doubtful and await self._overtaken():",
        "if False:",
        LANE,
    ),
    # Versions.
    Mutant(
        "statements are stamped by the clock",
        "views/versions.py",
        "    return epoch << 44 | offset << 4 | op\n",
        "    import time\n\n    return time.time_ns() // 1000\n",
        TORN,
    ),
    Mutant(
        "entries that are near have one version",
        "views/versions.py",
        "offset << 4 | op",
        "offset >> 3 << 4 | op",
        TORN,
    ),
    Mutant(
        "at one entry a delete wins over a put",
        "views/versions.py",
        "DELETE: Final = 0\nPUT: Final = 1",
        "DELETE: Final = 1\nPUT: Final = 0",
        VERSIONS,
    ),
    Mutant(
        "older progress comes back",
        "views/cql/write.py",
        "            at = version(self._epoch, offset, PUT)\n            put = await self._prepare(PROGRESS",
        "            at = __import__('time').time_ns() // 1000\n            put = await self._prepare(PROGRESS",
        VERSIONS,
    ),
    # Counting.
    Mutant(
        "a count takes an edge twice",
        "views/fold.py",
        "        elif statics[-1] >= offset:\n            return False\n",
        "",
        LANES,
    ),
    Mutant(
        "a count in the record's own shard takes an entry twice",
        "processors/step.py",
        "        if values[-1] >= self._offset and (table, partition) not in self._counted:\n            return\n",
        "",
        LANES,
    ),
    Mutant(
        "an unlike does not lower the count",
        "views/fold.py",
        "values[place] += delta",
        "values[place] += max(delta, 0)",
        BYTES,
    ),
    Mutant(
        "who unfollowed is still fanned out to",
        "processors/folding.py",
        "        for reader in gone:\n            members.pop(reader, None)\n",
        "",
        FOLDING,
    ),
    # How far everything is.
    Mutant(
        "a late watermark lowers what was said",
        "processors/lanes/watermarks.py",
        "raised = tuple(max(a, b)",
        "raised = tuple(b or a",
        MARKS,
    ),
    Mutant(
        "views are complete before timelines are",
        "views/complete.py",
        "            found = [min(offset, _at(marks, of)) for of, offset in enumerate(found)]\n",
        "",
        MARKS,
    ),
    # Verdict and derive.
    Mutant(
        "a commit that extends nothing is accepted",
        "ingest/verdict.py",
        "    if entry.prev_data != head.data:\n",
        "    if False:\n",
        VERDICT,
    ),
    Mutant(
        "a rev that does not rise is accepted",
        "ingest/verdict.py",
        "    if head.rev is not None and entry.rev <= head.rev:\n        return _not_above",
        "    if head.rev is not None and entry.rev < head.rev:\n        return _not_above",
        VERDICT,
    ),
    Mutant(
        "a deleted account's repo goes on",
        "ingest/verdict.py",
        '    if head.status == "deleted":\n        return _deleted(head)\n    if head.rev',
        "    if head.rev",
        VERDICT,
    ),
    Mutant(
        "a restored state forgets that a path was deleted",
        "ingest/log_kafka/derive/overlay.py",
        "place = None if content.value is None else (content.n, content.first_time)",
        "place = (content.n, content.first_time)",
        DERIVED,
    ),
    Mutant(
        "an expansion that was cut begins again",
        "ingest/log_kafka/derive/batch.py",
        "self.place = DerivePlace(done, self.place.n, True, chunk, op)",
        "self.place = DerivePlace(done, self.place.n, True, 0, 0)",
        DERIVED,
    ),
    # Rebuild.
    Mutant(
        "a generation that is behind may be flipped to",
        "processors/rebuild/kafka.py",
        '        if generation.state == "building":\n            raise',
        "        if False:\n            raise",
        GENERATIONS,
    ),
    Mutant(
        "compaction goes on while a generation is built",
        "processors/rebuild/kafka.py",
        "await hold_compaction(self._kafka, self._shards, hold=True)",
        "await hold_compaction(self._kafka, self._shards, hold=False)",
        GENERATIONS,
    ),
    Mutant(
        "two copies differ in no row that one of them lacks",
        "processors/digest.py",
        "            self.lines[bucket] += 1\n",
        "            self.lines[bucket] = 0\n            self._sums[bucket] = 0\n",
        MOVING,
    ),
)
