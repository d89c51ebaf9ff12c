"""Posts' words, in the alphabets of the languages they are said to be in: English, or made up.

Does not own how many words a post has (`model.py`).
"""

from __future__ import annotations

from headrace.load.synthesis.streams import stream

_WORDS = 1_500


def _split(*lines: str) -> list[str]:
    return " ".join(lines).split()


_SYLLABLES = {
    "latin": _split(
        "ba be bi bo da de di do fa fe ga go ka ke ki ko la le li lo ma me mi mo na ne no pa pe ra re ri ro",
        "sa se si so ta te ti to va ve vi wa we za an en in on ar er or al el is us",
    ),
    "ja": _split(
        "あ い う え お か き く け こ さ し す せ そ た ち つ て と な に の は ひ ま み も や ゆ よ ら り わ ん 日 本"
    ),
    "ko": _split(
        "가 나 다 라 마 바 사 아 자 차 카 타 파 하 고 노 도 로 모 보 소 오 조 기 니 디 리 미 비 시 이 지 은 는 을"
    ),
}

_ENGLISH = _split(
    "the a and of to in on with for from by at is was are we you they it this that some every no more less than",
    "river water mill wheel channel stone bridge field morning evening rain snow wind summer winter light shadow road",
    "bread coffee tea soup apple pepper garden kitchen window table book letter song story picture camera radio train",
    "bird fox cat dog horse bee tree leaf moss hill valley harbour island boat lantern clock market library school",
    "slow quick quiet loud early late small tall warm cold bright dark green blue red grey new old kind odd honest",
    "walks runs reads writes sings waits turns opens closes finds keeps gives takes asks answers remembers forgets",
    "today tomorrow yesterday again always never maybe almost together alone here there somewhere home away",
)


class Words:
    """The same words for the same seed."""

    def __init__(self, seed: int) -> None:
        self._lists = {name: _made(seed, name, parts) for name, parts in _SYLLABLES.items()}

    def of(self, language: str) -> list[str]:
        """The words of a language: some real ones of English, made up ones of the others."""
        return self._lists.get(language) or (_ENGLISH if language.startswith("en") else self._lists["latin"])


def _made(seed: int, name: str, parts: list[str]) -> list[str]:
    draw = stream(seed, "words", name)
    return ["".join(parts[int(draw() * len(parts))] for _ in range(1 + int(draw() * 4))) for _ in range(_WORDS)]
