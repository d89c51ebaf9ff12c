"""`python -m tests.support.monitoring` writes helm/rules and helm/dashboards anew."""

from __future__ import annotations

from tests.support.monitoring import dashboards, rules


def main() -> None:
    made = {**rules.files(), **dashboards.files()}
    for folder, suffix in ((rules.RULES, ".yaml"), (dashboards.DASHBOARDS, ".json")):
        for old in folder.iterdir():
            if old.suffix == suffix and old not in made:
                old.unlink()
    for path, text in made.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
