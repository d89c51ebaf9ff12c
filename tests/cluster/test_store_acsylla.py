"""What holds over scylla-driver holds over acsylla: in processes of their own, as it leaves sockets on every loop."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.support.cql_store import DRIVER
from tests.support.network import _die_with_parent
from tests.support.stack import CQL

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
SUITES = {
    "contract": ("-k", "cql", "tests/contracts/test_store.py"),
    "writers": tuple(f"tests/cluster/test_{name}.py" for name in ("store_versions", "lanes_torn", "statements")),
    "sessions": tuple(f"tests/cluster/test_{name}.py" for name in ("store_session", "store_tls")),
    "faults": ("tests/cluster/test_store_faults.py",),
}


@pytest.mark.parametrize("suite", SUITES)
async def test_acsylla_holds_what_the_store_promises(cql_address, suite):
    host, port = cql_address

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-W", "ignore"),
        *SUITES[suite],
        cwd=ROOT,
        env={**os.environ, CQL: f"{host}:{port}", DRIVER: "acsylla"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=_die_with_parent,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert process.returncode == 0, said.decode()
    assert b" passed" in said
