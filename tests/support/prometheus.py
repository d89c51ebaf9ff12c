"""A Prometheus that scrapes and evaluates the shipped rules, in a hurry: their durations are divided by a scale.

It listens on a free port, keeps its data in a directory of its own, and is gone when its parent is. Does not own the
rules (`monitoring/`) nor what is scraped.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import yaml

from tests.support.network import _die_with_parent
from tests.support.tools import need

READY_SECONDS = 60.0
_RANGE = re.compile(r"\[(\d+)([smhd])\]")
_AHEAD = re.compile(r"(predict_linear\(.*?\], )(\d+)\)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def hurried(text: str, scale: int) -> str:
    """A file of rules with every range, horizon and `for` divided by `scale`; what they compare with stays."""
    found = yaml.safe_load(text)
    for group in found["groups"]:
        for rule in group["rules"]:
            nearer = _AHEAD.sub(lambda match: f"{match[1]}{int(match[2]) / scale:g})", rule["expr"])
            rule["expr"] = _RANGE.sub(lambda match: f"[{_milliseconds(match[1], match[2], scale)}ms]", nearer)
            if "for" in rule:
                rule["for"] = f"{_milliseconds(rule['for'][:-1], rule['for'][-1], scale)}ms"
    return yaml.safe_dump(found, sort_keys=False)


def _milliseconds(number: str, unit: str, scale: int) -> int:
    return int(number) * _SECONDS[unit] * 1000 // scale


class Prometheus:
    """One running process; `ask` is its HTTP API."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.process = process

    def ask(self, path: str, **parameters: str) -> Any:
        """`data` of an answer. Raises urllib.error.HTTPError for a query that cannot be evaluated."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=20) as answer:
            return orjson.loads(answer.read())["data"]

    def values(self, expression: str) -> list[float]:
        """Of an instant query."""
        return [float(each["value"][1]) for each in self.ask("query", query=expression)["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """With the health and the last evaluation of each."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def evaluated(self, since: datetime) -> bool:
        """Whether every rule has been evaluated after that moment."""
        return all(datetime.fromisoformat(rule["lastEvaluation"]) > since for rule in self.rules())

    def alerts(self) -> list[dict[str, Any]]:
        """Pending and firing."""
        found: list[dict[str, Any]] = self.ask("alerts")["alerts"]
        return found

    def active(self) -> set[str]:
        """Names of alerts that are pending or fire."""
        return {alert["labels"]["alertname"] for alert in self.alerts()}

    def firing(self) -> set[str]:
        """Names of alerts that fire."""
        return {alert["labels"]["alertname"] for alert in self.alerts() if alert["state"] == "firing"}

    def until(self, holds: Callable[[], bool], what: str, seconds: float = 60.0) -> float:
        """How long it took. AssertionError when it took longer than `seconds`."""
        begun = time.monotonic()
        while not holds():
            took = time.monotonic() - begun
            assert took < seconds, f"not within {seconds} s: {what}"
            assert self.process.poll() is None, "Prometheus has ended"
            time.sleep(0.05)
        return time.monotonic() - begun


@contextlib.contextmanager
def scraping(
    folder: Path, targets: Mapping[str, str], rules: Mapping[str, str], interval: str = "1s"
) -> Iterator[Prometheus]:
    """`targets` are addresses by role, `rules` texts by file name; both are looked at every `interval`."""
    for name, text in rules.items():
        (folder / name).write_text(text)
    jobs = [{"targets": [address], "labels": {"headrace_role": role}} for role, address in targets.items()]
    config = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": sorted(rules),
        "scrape_configs": [{"job_name": "headrace", "static_configs": jobs}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    command = [
        need("prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    said = folder / "prometheus.log"
    with said.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=_die_with_parent)  # noqa: PLW1509 - as there
    try:
        yield Prometheus(_address(process, said), process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _address(process: subprocess.Popen[bytes], said: Path) -> str:
    until = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < until:
        text = said.read_text()
        found = re.search(r'msg="?Listening on"? address=(\S+)', text)
        if found and "ready to receive web requests" in text:
            return f"http://{found[1]}"
        time.sleep(0.05)
    raise AssertionError(f"Prometheus did not get ready:\n{said.read_text()[-4000:]}")
