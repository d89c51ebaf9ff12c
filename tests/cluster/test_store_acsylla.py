"""The store's contract over acsylla: in a process of its own, as this driver leaves sockets behind it on every loop."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.support.cql_store import DRIVER
from tests.support.network import _die_with_parent
from tests.support.stack import CQL

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]


async def test_the_contract_of_the_store_holds_over_acsylla(cql_address):
    host, port = cql_address
    arguments = ("-m", "pytest", "-q", "-W", "ignore", "-k", "cql", "tests/contracts/test_store.py")

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
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
