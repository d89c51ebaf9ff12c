"""`headrace doctor`: looks at what an operator would look at, and says the cure of what is wrong.

Does not own the checks (`headrace/doctor/examine.py`).
"""

from __future__ import annotations

import asyncio
import sys

import orjson

from headrace import logs
from headrace.commands.common import DONE, FAILED, Config, Data, Json, Sets, settings_of


def doctor(*, data: Data = None, config: Config = None, sets: Sets = None, as_json: Json = False) -> int:
    """Look for what is wrong (data directory, ports, clock, did:plc, broker, store) and say its cure; changes nothing.

    Exit code 1 when something is.
    """
    settings = settings_of({"data": data}, config, sets)
    logs.configure(settings.log_level)
    from headrace.doctor.examine import examine  # noqa: PLC0415 - `headrace --help` need not load the whole house
    from headrace.doctor.finding import document  # noqa: PLC0415 - as above

    found = asyncio.run(examine(settings))
    if as_json:
        sys.stdout.write(orjson.dumps(document(found)).decode() + "\n")
    else:
        width = max(len(each.check) for each in found)
        sys.stdout.writelines(
            f"{'ok   ' if each.well else 'WRONG'}  {each.check:{width}}  {each.message}\n" for each in found
        )
    return DONE if all(each.well for each in found) else FAILED
