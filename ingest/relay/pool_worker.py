"""A verifying process: jobs in, answers out, on one inherited socket, until its other end is closed.

Run as `python -m ingest.relay.pool_worker FD`. It says one byte when it is ready. It ends when the relay does, however
that ends, and leaves Ctrl-C to it. Does not own batching or order (`ingest.relay.pool`).
"""

from __future__ import annotations

import signal
import socket
import sys

from ingest.relay.pool_wire import LENGTH_SIZE, pack, unpack_jobs, work

READY = b"\x06"


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as link:
        link.setblocking(True)
        try:
            link.sendall(READY)
            _serve(link)
        except (BrokenPipeError, ConnectionResetError):
            return  # the relay is gone


def _serve(link: socket.socket) -> None:
    while (length := _receive(link, LENGTH_SIZE)) is not None:
        batch = _receive(link, int.from_bytes(length, "little"))
        if batch is None:
            return
        link.sendall(pack([work(job) for job in unpack_jobs(batch)]))


def _receive(link: socket.socket, size: int) -> memoryview | None:
    """So many bytes, or None when the other end is closed before."""
    buffer = memoryview(bytearray(size))
    at = 0
    while at < size:
        count = link.recv_into(buffer[at:])
        if count == 0:
            return None
        at += count
    return buffer


if __name__ == "__main__":
    main()
