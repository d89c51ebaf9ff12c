"""Password hashes: argon2id in a thread, so that the loop serves while one is computed.

Does not own who may log in (sessions.py).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from ingest.pds.refusals import invalid_request
from ingest.pds.settings import PdsSettings

NEW_PASSWORD_MAX = 256
OLD_PASSWORD_MAX = 512

_WORKERS = 2
_QUEUE_MAX = 64


class Passwords:
    """Bounded: two hashes at a time, 64 in line; one more is refused by the caller's rate limit or waits its turn."""

    def __init__(self, settings: PdsSettings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.argon2_time,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
            type=Type.ID,
        )
        self._threads = ThreadPoolExecutor(_WORKERS, "argon2")
        self._places = asyncio.Semaphore(_QUEUE_MAX)
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """Raises XrpcError when the password is longer than 256 characters."""
        if len(password) > NEW_PASSWORD_MAX:
            raise invalid_request(f"Password too long. Maximum length is {NEW_PASSWORD_MAX} characters.")
        async with self._places:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether it matches. Without a stored hash as much work is done, so that time does not tell who exists."""
        if len(password) > OLD_PASSWORD_MAX:
            return False
        if stored is None:
            if self._nobody is None:
                self._nobody = await self.hash("nobody")
            await self._verify(self._nobody, password)
            return False
        return await self._verify(stored, password)

    async def _verify(self, stored: str, password: str) -> bool:
        async with self._places:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._check, stored, password)

    def _check(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    def close(self) -> None:
        self._threads.shutdown()
