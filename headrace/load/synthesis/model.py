"""The shape of the real network, as numbers.

Source, where nothing else is said: PauSolerValades/bsky-data-analysis at 6359ae702983 and four later commits
(docs/EDA.md and the notes beside it): the whole firehose of Bluesky, 11 to 18 April 2026, 240.6 million events of
3.09 million accounts. Shapes, not digits: the source has loose ends of its own. What it does not say is ours and
marked so. Does not own what is made of them (`plan.py`).
"""

from __future__ import annotations

from typing import Final, Literal

Act = Literal[
    "like",
    "repost",
    "follow",
    "post",
    "reply",
    "unfollow",
    "unlike",
    "block",
    "threadgate",
    "unrepost",
    "postgate",
    "profile",
    "listitem",
    "unblock",
    "status",
    "unlistitem",
    "unpost",
    "deactivate",
    "delete",
    "rename",
]

EVENT_MIX: Final[tuple[tuple[Act, int], ...]] = (  # per 10,000 events
    ("like", 6_639),
    ("repost", 1_055),
    ("follow", 675),
    ("post", 635),
    ("reply", 532),
    ("unfollow", 105),
    ("unlike", 83),
    ("block", 68),
    ("threadgate", 61),
    ("unrepost", 41),
    ("postgate", 33),
    ("profile", 35),  # updates and creations: our accounts have theirs from the start
    ("listitem", 15),
    ("status", 12),
    ("unblock", 4),
    ("unlistitem", 3),
    ("unpost", 34),  # what is left of deletes (2.7 % of operations) when the others are taken off
    ("deactivate", 3),  # ours
    ("rename", 3),  # ours
    ("delete", 1),  # ours
)

EVENTS_PER_ACCOUNT: Final = (  # in 8 days: (accounts per 10,000, events); above p99 the tail of the log-normal fit
    (0, 1),
    (1_000, 1),
    (2_500, 3),
    (5_000, 8),
    (7_500, 39),
    (9_000, 159),
    (9_500, 341),
    (9_900, 1_185),
    (9_990, 3_400),
    (9_999, 11_000),
    (10_000, 70_000),
)
EVENTS_PER_ACCOUNT_SECOND: Final = 240_600_000 / 3_086_991 / (8 * 86_400)

FOLLOWS: Final = (  # per account: median 44 to 68, mean 53; the cut is one commit's worth
    (0, 1),
    (1_000, 4),
    (2_500, 15),
    (5_000, 44),
    (7_500, 85),
    (9_000, 130),
    (10_000, 150),
)

LANGUAGES: Final = (  # per 1,000 posts; `none` says nothing, `other` is what is left of the hundred
    ("en", 608),
    ("none", 117),
    ("ja", 106),
    ("pt", 28),
    ("de", 28),
    ("es", 26),
    ("fr", 16),
    ("ko", 14),
    ("en-US", 7),
    ("nl", 7),
    ("other", 43),
)
QUOTES: Final = 56  # per 1,000 posts
LINKS: Final = 120  # per 1,000 posts; ours
MENTIONS: Final = 60  # per 1,000 posts; ours

# How likes gather (fedi.ml, December 2024: 40 % of posts have none, 70 % at most one): a like goes where an earlier one
# went with this chance (of 1,000), else to any recent post. 5.7 likes a post times the rest leaves e^-0.9 without one.
LIKE_FOLLOWS_LIKE: Final = 840
REPOST_FOLLOWS_REPOST: Final = 650
REPLY_TO_REPLIED: Final = 550  # ours: threads go on where they are

HOURS: Final = (  # UTC, mean 100; ours: evenings of the Americas, a low in their night
    *(118, 116, 112, 102, 92, 82, 76, 74, 76, 80, 86, 92),
    *(98, 104, 108, 110, 110, 108, 108, 110, 110, 108, 110, 110),
)

WORDS: Final = (  # of a post: (per 10,000, words); ours
    (0, 1),
    (2_500, 5),
    (5_000, 12),
    (8_000, 22),
    (10_000, 32),
)

EXPONENTIAL: Final = (  # 64 quantiles of the exponential distribution, mean 1,000
    *(8, 24, 40, 57, 73, 90, 108, 125, 143, 162, 180, 199, 218, 238, 258, 279),
    *(300, 321, 343, 365, 388, 412, 436, 460, 485, 511, 537, 565, 593, 621, 651, 681),
    *(713, 745, 779, 813, 849, 887, 925, 965, 1007, 1051, 1097, 1145, 1195, 1248, 1304, 1363),
    *(1426, 1493, 1565, 1642, 1726, 1817, 1918, 2030, 2156, 2300, 2467, 2669, 2922, 3260, 3774, 4878),
)
