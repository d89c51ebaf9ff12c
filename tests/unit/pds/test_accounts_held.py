"""Accounts held still by another process for a moment, as a backup does: writes wait, whatever they begin with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ingest.identity.plc_store import _open
from ingest.pds.accounts_schema import connect

# Another process, since SQLite waits for another process's locks in another way. It lets go after a moment in which a
# write that does not wait has failed.
_HOLDER = """
import sys, time, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
time.sleep(0.2)
connection.execute("ROLLBACK")
"""


@pytest.mark.parametrize("opened", [connect, _open], ids=["accounts", "plc"])
def test_a_write_that_looks_first_waits_for_who_holds_the_file(tmp_path: Path, opened) -> None:
    path = tmp_path / "file.sqlite"
    writer = opened(path)
    writer.execute("CREATE TABLE looked(at)")
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    holder.stdin.write("let go soon\n")
    holder.stdin.flush()

    with writer:
        assert writer.execute("SELECT count(*) FROM looked").fetchall() == [(0,)]
        writer.execute("INSERT INTO looked VALUES(1)")
    holder.communicate()

    assert writer.execute("SELECT at FROM looked").fetchall() == [(1,)]
    writer.close()
