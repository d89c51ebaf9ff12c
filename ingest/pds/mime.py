"""The MIME type that a blob's first bytes speak for.

Only media and document types are believed: text and script types are left to the client's claim, which is served in a
sandbox anyway (sync.getBlob). Does not own what a lexicon accepts.
"""

from __future__ import annotations

import puremagic

_BELIEVED = ("image/", "video/", "audio/", "font/", "application/pdf", "application/zip", "application/gzip")
_CONFIDENT = 0.3  # three bytes of signature; what two bytes say (BM) any text may say
_OTHER_NAMES = {
    "application/ogg": "audio/ogg",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "image/jpg": "image/jpeg",
}
_SCRIPTED = "image/svg+xml"
_BOX_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"qt  ": "video/quicktime"}


def sniff(first: bytes) -> str | None:
    """The type of a file that begins with `first` (some KB), or None when the bytes do not say."""
    if first[4:8] == b"ftyp":  # ISO base media: the brand decides, and the database knows only some
        return _BOX_BRANDS.get(first[8:12], "video/mp4")
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return "image/webp"
    try:
        guesses = puremagic.magic_string(first)
    except (puremagic.PureError, ValueError):
        return None
    for guess in guesses:
        mime: str = _OTHER_NAMES.get(guess.mime_type, guess.mime_type)
        if guess.confidence >= _CONFIDENT and mime.startswith(_BELIEVED) and mime != _SCRIPTED:
            return mime
    return None
