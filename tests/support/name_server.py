"""A name server on loopback for tests: answers A from a table, `*` stands for what is not in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


class _Server(asyncio.DatagramProtocol):
    def __init__(self, table: Mapping[str, str], asked: list[str]) -> None:
        self._table = table
        self._asked = asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        self._asked.append(name)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        below = "*." + name.partition(".")[2]
        address = self._table.get(name, self._table.get(below))
        if address is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", address))
        self._transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def name_server(table: Mapping[str, str], asked: list[str] | None = None) -> AsyncIterator[str]:
    """Its address, as host:port."""
    loop = asyncio.get_running_loop()
    heard: list[str] = [] if asked is None else asked
    transport, _ = await loop.create_datagram_endpoint(lambda: _Server(table, heard), local_addr=("127.0.0.1", 0))
    try:
        host, port = transport.get_extra_info("sockname")
        yield f"{host}:{port}"
    finally:
        transport.close()
