"""The documentation is what the code is: reference pages, files, make targets and commands that it names."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from pathlib import Path

import pytest

from headrace.cli import command_line
from tests.support import docs

ROOT = docs.ROOT
PAGES = sorted({ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "INVARIANTS.md", *ROOT.glob("docs/**/*.md")})
# Paths in backticks that do not exist: the reader is to make them.
EXAMPLES = {
    "views/reposts_by_month.py",
    "tests/views/test_reposts_by_month.py",
    "api/app/bsky/.../get_reposts_by_month.py",
}
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_PATH = re.compile(r"(?:\.?[\w*{},.-]+/)+(?:[\w*.-]+)?|[\w*-]+\.(?:py|md|toml)")
_FOLDERS = ("", "docs", "api", "headrace", "ingest", "processors", "schemas", "tests", "views")


def named_files(page: Path) -> set[str]:
    code = {span for span in _CODE.findall(page.read_text()) if _PATH.fullmatch(span)}
    return {name for name in code if name.split("/")[0] in _FOLDERS or name.endswith((".py", ".md"))} - EXAMPLES


def exists(name: str) -> bool:
    return any(any((ROOT / folder).glob(name.rstrip("/"))) for folder in _FOLDERS)


def test_metrics_are_documented_as_they_are_scraped(tmp_path: Path) -> None:
    families = asyncio.run(docs.families_of(tmp_path / "data"))

    assert len(families) > 20
    assert (docs.DOCS / "metrics.md").read_text() == docs.metrics_page(families), "run: make docs"


@pytest.mark.parametrize(("page", "made"), [("endpoints.md", docs.endpoints_page), ("views.md", docs.views_page)])
def test_the_reference_is_what_the_code_declares(page, made) -> None:
    assert (docs.DOCS / page).read_text() == made(), "run: make docs"


def test_the_settings_table_is_what_the_code_declares() -> None:
    page = (docs.DOCS / "settings.md").read_text()

    assert docs.settings_page(page) == page, "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_and_link_that_is_named_exists(page: Path) -> None:
    absent = [name for name in named_files(page) if not exists(name)]
    dead = [
        link
        for link in _LINK.findall(page.read_text())
        if not link.startswith(("http:", "https:", "ws:")) and not (page.parent / link).exists()
    ]

    assert (absent, dead) == ([], [])


def test_the_map_names_files_at_all() -> None:
    assert {"ingest/verdict.py", "views/timeline_read.py"} <= named_files(ROOT / "ARCHITECTURE.md")
    assert not exists("ingest/no_such_file.py")


def test_every_make_target_that_is_named_is_one() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target for page in PAGES for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE)
    }

    assert {"run", "test", "bench"} <= named
    assert named <= targets


def test_every_command_that_is_named_answers_help() -> None:
    words = re.compile(r"`headrace ((?:ingest )?[a-z]+)")
    named = {command for page in PAGES for command in words.findall(page.read_text())}

    assert {"up", "status", "ingest frames", "ingest car"} <= named
    for command in named:
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            command_line()([*command.split(), "--help"], exit_on_error=False, result_action="return_value")
        assert shown.getvalue().startswith("Usage:"), command
