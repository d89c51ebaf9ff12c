"""`headrace load`: record, synthesise and replay firehose archives, run plans, compare reports.

Does not own the commands (`headrace/commands/load_*.py`).
"""

from __future__ import annotations

import cyclopts

from headrace.commands import load_archives, load_clean, load_run, load_streams, load_synthesis


def groups() -> tuple[cyclopts.App, ...]:
    """The group, with every command in it."""
    load = cyclopts.App(name="load", help="Firehose archives and load: record, synthesise, replay, measure.")
    for name, command in {
        **load_streams.COMMANDS,
        **load_archives.COMMANDS,
        **load_synthesis.COMMANDS,
        **load_run.COMMANDS,
        **load_clean.COMMANDS,
    }.items():
        load.command(command, name=name)
    return (load,)
