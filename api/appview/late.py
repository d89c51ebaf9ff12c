"""What an answer can do without: waited for so long, then left out and counted.

Counts, the viewer's own reactions and follows, suggestions while typing. Not what hides: accounts' states, blocks,
takedowns and gates are waited for, and without them there is no answer. Does not own how an answer looks without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from http import HTTPStatus

from schemas.errors import XrpcError


class Part(StrEnum):
    COUNTS = "counts"
    """Likes, reposts, replies and quotes of posts."""
    REACTIONS = "reactions"
    """The viewer's likes and reposts."""
    FOLLOWS = "follows"
    """Whether the viewer and an account follow one another."""
    PROFILE_COUNTS = "profile_counts"
    """Followers, follows and posts of accounts."""
    ROOT_LIKES = "root_likes"
    """Which posts of a thread its first author likes."""
    TYPEAHEAD = "typeahead"
    """Accounts that are suggested while a name is typed."""


InTime = Callable[[Part, Awaitable[None]], Awaitable[bool]]
"""Do the work; False when it was given up, and the answer goes without it."""


def within(seconds: float, given_up: Callable[[Part], None]) -> InTime:
    """For a store across a network: what comes late, or cannot be read now, is told to `given_up`."""

    async def wait(part: Part, work: Awaitable[None]) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await work
        except TimeoutError:
            pass
        except XrpcError as error:
            if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
        else:
            return True
        given_up(part)
        return False

    return wait
