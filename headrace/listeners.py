"""Sockets and what listens on them. Ports are bound before anything is built, since addresses go into documents.

Does not own what is answered there.
"""

from __future__ import annotations

import errno
import socket

from aiohttp import web

_BACKLOG = 1024


class BindError(Exception):
    """The address or the port cannot be had. Choose another; the message names the setting."""


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A bound socket that does not listen yet. Raises BindError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        of_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
        cure = f"Choose another --{setting.replace('_', '-')}, or 0 for any" if of_port else "Choose another --host"
        raise BindError(f"cannot bind {host}:{port} ({error.strerror}). {cure}") from None
    bound.setblocking(False)
    return bound


def address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def listen(runner: web.AppRunner | web.ServerRunner, bound: socket.socket) -> None:
    await runner.setup()
    await web.SockSite(runner, bound, backlog=_BACKLOG).start()
