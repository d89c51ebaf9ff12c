"""Base58 with the Bitcoin alphabet, as multibase `z` uses it. Does not own the `z`, nor what the bytes mean.

The running time is quadratic in the length, therefore bounded: keys are under 70 characters.
"""

from __future__ import annotations

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
MAX_TEXT = 256

_INDEX = {character: value for value, character in enumerate(ALPHABET)}


def encode(data: bytes) -> str:
    """The text of `data`; each leading zero byte is one leading `1`."""
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return ALPHABET[0] * zeros + "".join(reversed(digits))


def decode(text: str) -> bytes:
    """The bytes of `text`. Raises ValueError for a foreign character or more than 256 of them."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"base58 text of {len(text)} characters; at most {MAX_TEXT}")
    number = 0
    for character in text:
        digit = _INDEX.get(character)
        if digit is None:
            raise ValueError(f"{character!r} is not a base58 character")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip(ALPHABET[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
