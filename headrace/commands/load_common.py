"""What the commands on archives share: the parameter, and what is said when something goes wrong.

Does not own the commands (`headrace/commands/load_*.py`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headrace.commands.common import DONE, FAILED, REFUSED, USAGE, fail
from headrace.listeners import BindError
from headrace.load.archive.writer import ArchiveWriter
from schemas.errors import Refused

Source = Annotated[Path, Parameter(help="An archive: a directory.")]


def say_cut(writer: ArchiveWriter) -> None:
    """Say what opening an archive cut off torn tails."""
    for name, damage in writer.cut.items():
        sys.stderr.write(f"headrace: {name} ended within a block: {damage.length} bytes were cut off\n")


def tried(act: Callable[[], int]) -> int:
    """The exit code, with what went wrong on stderr."""
    try:
        return act()
    except Refused as refused:
        return fail(REFUSED, str(refused))
    except ValueError as error:
        return fail(USAGE, str(error))
    except BindError as error:
        return fail(USAGE, str(error))
    except KeyboardInterrupt:
        return fail(FAILED, "stopped")
    except BrokenPipeError:  # whoever read our lines has enough of them
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - else closing it fails once more
        return DONE
    except OSError as error:
        return fail(FAILED, f"{error.filename}: {error.strerror}" if error.filename else str(error))
