"""A page in headless Chromium: what a person would see of it, measured where it is laid out.

Does not own the browser (`tools.py`).
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.tools import need

_SECONDS = 120
_PROBE = """<script>addEventListener("load", () => {
  const box = (each) => { const r = each.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; };
  const outside = [...performance.getEntriesByType("resource")].map((each) => each.name);
  const style = getComputedStyle(document.body);
  const found = { text: document.body.innerText, width: innerWidth, outside,
    scrolls: document.documentElement.scrollWidth, ink: style.color, paper: style.backgroundColor,
    plots: [...document.querySelectorAll("svg")].map((svg) => ({ box: box(svg), label: svg.getAttribute("aria-label"),
      paths: [...svg.querySelectorAll("path")].map(box), texts: [...svg.querySelectorAll("text")].map(box) })) };
  const probe = document.createElement("pre"); probe.id = "probe"; probe.textContent = JSON.stringify(found);
  document.body.append(probe); });</script>"""


class Seen(NamedTuple):
    """Boxes are left, top, width, height in CSS pixels."""

    text: str
    width: float
    scrolls: float
    ink: str
    paper: str
    outside: list[str]
    plots: list[dict[str, Any]]


def look(page: Path, *, width: int = 1200, dark: bool = False) -> Seen:
    """Lay a page out at a width. Skips when this machine has no Chromium and can have none."""
    chromium = need("chromium")
    with tempfile.TemporaryDirectory(prefix="headrace-browser-") as folder:
        copy = Path(folder) / "page.html"
        # In a frame of the wanted width: a window is never narrower than 500 pixels.
        inner = Path(folder) / "inner.html"
        inner.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{_PROBE}</body>"), encoding="utf-8")
        copy.write_text(
            f'<!doctype html><body><iframe src="inner.html" style="width:{width}px;height:900px;border:0"></iframe>'
            '<script>const frame = document.querySelector("iframe"); addEventListener("load", () => {'
            'document.body.append(frame.contentDocument.getElementById("probe").cloneNode(true)); });</script></body>'
        )
        command = [
            str(chromium),
            *("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"),
            *(f"--user-data-dir={folder}/profile", f"--window-size={max(500, width) + 100},1000"),
            *(("--blink-settings=preferredColorScheme=0",) if dark else ("--blink-settings=preferredColorScheme=1",)),
            *("--virtual-time-budget=5000", "--dump-dom", copy.as_uri()),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, f"Chromium showed nothing: {done.stderr[-2000:]}"
    said = json.loads(unescape(found[1]))
    return Seen(**{name: said[name] for name in Seen._fields})
