"""Outgoing mail as files: DIR/mail/*.eml, for an operator's own mailer (or a developer's eyes) to pick up.

Does not own tokens (accounts.py) nor delivery.
"""

from __future__ import annotations

import itertools
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path

from ingest.pds.secrets import private_directory, write_private

_KEPT = 1000


class Mailbox:
    """Writes one file a message; the newest 1,000 stay."""

    def __init__(self, directory: Path, sender: str) -> None:
        self._directory = private_directory(directory)
        self._sender = sender
        self._count = itertools.count()

    def send(self, to: str, subject: str, text: str, now: float) -> Path:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, to, subject
        message["Date"] = formatdate(now)
        message.set_content(text)
        path = self._directory / f"{int(now * 1_000_000):017d}-{next(self._count):06d}.eml"
        write_private(path, bytes(message))
        for old in sorted(self._directory.glob("*.eml"))[:-_KEPT]:
            old.unlink(missing_ok=True)
        return path
