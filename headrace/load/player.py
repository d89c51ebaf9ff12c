"""What players of archives share: why one cannot play.

Does not own how they play (`players.py`, `upstream.py`).
"""

from __future__ import annotations


class PlayerError(Exception):
    """An archive cannot be played: the message says why."""
