"""The page of the river on the operators' listener: one file, nothing from outside, and a policy that says so.

Does not own what it shows (`/river`, from whoever runs the process) nor the listener (`api/ops.py`).
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

_FILE = Path(__file__).with_name("ops_page.html")


def page() -> tuple[bytes, dict[str, str]]:
    """The page and its headers: only its own script and style run, and it speaks to its own origin alone."""
    text = _FILE.read_text(encoding="utf-8")
    hashes = {
        tag: " ".join(f"'sha256-{_hash(inside)}'" for inside in re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL))
        for tag in ("script", "style")
    }
    policy = (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def _hash(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()
