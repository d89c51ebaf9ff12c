"""`python -m tests.support.monitoring` writes helm/rules anew."""

from __future__ import annotations

from tests.support.monitoring import rules


def main() -> None:
    made = rules.files()
    for folder in {path.parent for path in made}:
        for old in folder.iterdir():
            if old.suffix == ".yaml" and old not in made:
                old.unlink()
    for path, text in made.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
