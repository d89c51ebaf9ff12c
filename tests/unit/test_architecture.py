"""What import-linter cannot see: where a client library may appear, and what no file may hold.

Each rule is a function from a file's tree to what breaks it, and is shown a file that does.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("schemas", "ingest", "views", "processors", "api", "headrace")

# Where each library with I/O, keys or a server in it may be imported: convention 4, file by file.
CLIENTS: dict[str, tuple[str, ...]] = {
    "acsylla": ("views/cql/acsylla.py",),
    "aiohttp": (
        "api/*",
        "headrace/*",
        "ingest/identity/fetch.py",
        "ingest/identity/ssrf.py",
        "ingest/identity/plc_client.py",
        "ingest/relay/outgoing.py",
        "ingest/relay/outgoing_errors.py",
    ),
    "aiokafka": (
        "ingest/log_kafka/*",
        "processors/faust_app.py",
        "processors/lanes/hops_kafka.py",
        "processors/lanes/inflow_kafka.py",
        "processors/lanes/markers_kafka.py",
        "processors/run_faust.py",
        "processors/run_plain.py",
    ),
    "apsw": (
        "headrace/backup/instant.py",
        "headrace/load/synthesis/spill.py",
        "ingest/log_kafka/derive/owned.py",
        "ingest/log_kafka/derive/state.py",
        "ingest/log_kafka/pds/heads.py",
        "ingest/log_kafka/relay/view.py",
        "ingest/log_sqlite/*",
        "ingest/log_truncate.py",
        "ingest/identity/kept_documents.py",
        "ingest/identity/plc_mirror_store.py",
        "ingest/identity/plc_store.py",
        "ingest/pds/account*.py",
        "ingest/pds/blob_index.py",
        "ingest/pds/sessions.py",
        "ingest/relay/backfill_store.py",
        "ingest/relay/hosts_store.py",
        "ingest/relay/told_store.py",
        "views/generations_sqlite.py",
        "views/store_sqlite*.py",
    ),
    "argon2": ("ingest/pds/passwords.py",),
    "cassandra": ("views/cql/scylla_driver.py", "views/cql/session.py"),
    "cbor2": (),
    "cbrrr": ("schemas/cbor.py", "schemas/data.py"),
    "coincurve": ("ingest/repo/k256.py",),
    "cryptography": ("headrace/backup/seal.py", "headrace/certificates.py", "ingest/repo/p256.py"),
    "cyclopts": ("headrace/cli.py", "headrace/commands/*"),
    "dns": ("ingest/identity/dns_txt.py",),
    "jwt": ("ingest/identity/jws.py", "ingest/identity/service_auth.py", "ingest/pds/tokens.py"),
    "faust": ("processors/faust_app.py", "processors/run_faust.py"),
    "libipld": ("schemas/cid.py", "ingest/repo/*.py"),
    "multidict": ("api/*",),
    "prometheus_client": ("api/*", "headrace/*"),
    "opentelemetry": ("headrace/tracing.py",),
    "puremagic": ("ingest/pds/mime.py",),
    "pydantic": ("headrace/settings*.py",),
    "pydantic_settings": ("headrace/settings*.py",),
    "sqlite3": (),
    "uvloop": ("headrace/load/client_process.py", "headrace/serving.py"),
}

# Functions that may end a broad `except` without `raise`: what fails there goes to whoever waits for it.
TELLERS = {
    ("api/dispatch.py", "xrpc"): "the edge: logged whole, answered as 500",
    ("ingest/log_kafka/derive/worker.py", "_be_member"): "the worker has failed and says why",
    ("ingest/log_kafka/derive/worker.py", "_keep"): "the worker has failed and says why",
    ("ingest/log_kafka/pds/rejections.py", "_run"): "the PDS stops and says why",
    ("ingest/log_kafka/pds/writer.py", "_run"): "the PDS stops and says why",
    ("ingest/log_sqlite/writer.py", "_run"): "the log stops and says why",
    ("processors/lanes/inflow_kafka.py", "_run"): "the worker stops and says why, and so do the lanes that read",
    ("processors/run_embedded.py", "_run"): "the views stop and say why",
    ("views/cql/session.py", "_send"): "whoever asked the store is told",
}
_BROAD = {"Exception", "BaseException"}
_LEFT_OVER = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
_APPS = {"App", "Application", "AppRunner", "CollectorRegistry", "Router", "RouteTableDef"}

Rule = Callable[[str, str], Iterator[str]]


def files() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def clients_in_their_files(path: str, source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names = [node.module]
        for name in names:
            allowed = CLIENTS.get(name.partition(".")[0])
            if allowed is not None and not any(fnmatch(path, pattern) for pattern in allowed):
                yield f"{path}:{node.lineno} imports {name}: allowed in {allowed or 'no file'}"


def no_app_of_a_module(path: str, source: str) -> Iterator[str]:
    for node in ast.parse(source).body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr) else None
        if isinstance(value, ast.Call) and _last_name(value.func) in _APPS:
            yield f"{path}:{node.lineno} makes {_last_name(value.func)} when it is imported"


def no_registering_decorators(path: str, source: str) -> Iterator[str]:
    allowed = {"property", "setter", "classmethod", "staticmethod", "contextmanager", "asynccontextmanager", "override"}
    allowed |= {"dataclass", "cache", "lru_cache", "cached_property", "final", "field_validator", "model_validator"}
    allowed |= {"abstractmethod", "overload", "runtime_checkable", "middleware", "total_ordering"}
    for node in ast.walk(ast.parse(source)):
        for decorator in getattr(node, "decorator_list", ()):
            name = _last_name(decorator.func if isinstance(decorator, ast.Call) else decorator)
            if name not in allowed:
                yield f"{path}:{decorator.lineno} decorates with {name}"


def broad_except_raises(path: str, source: str) -> Iterator[str]:
    for function, handler in _handlers(ast.parse(source), ""):
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        broad = any(each is None or _last_name(each) in _BROAD for each in caught)
        raises = any(isinstance(node, ast.Raise) for node in ast.walk(handler))
        if broad and not raises and (path, function) not in TELLERS:
            yield f"{path}:{handler.lineno} catches everything in {function} and raises nothing"


def no_print(path: str, source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _last_name(node.func) in {"print", "pprint", "breakpoint"}:
            yield f"{path}:{node.lineno} prints"


def nothing_left_over(path: str, source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and _LEFT_OVER.search(token.string):
            yield f"{path}:{token.start[0]} {token.string}"


def a_docstring_says_what_it_is(path: str, source: str) -> Iterator[str]:
    if source.strip() and not ast.get_docstring(ast.parse(source)):
        yield f"{path} does not say what it is"


def _handlers(node: ast.AST, function: str) -> Iterator[tuple[str, ast.ExceptHandler]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ExceptHandler):
            yield function, child
        inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        yield from _handlers(child, inside)


def _last_name(node: ast.AST | None) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


# Each rule with a file that breaks it, and one that looks like it and does not.
RULES: tuple[tuple[Rule, tuple[str, str], tuple[str, str]], ...] = (
    (
        clients_in_their_files,
        ("views/posts.py", "def f():\n    from apsw import Connection\n"),
        ("views/store_sqlite.py", "import apsw\n"),
    ),
    (clients_in_their_files, ("ingest/pds/pds.py", "import aiohttp.web\n"), ("api/x.py", "from aiohttp import web\n")),
    (no_app_of_a_module, ("api/a.py", "APP: X = web.Application()\n"), ("api/a.py", "def f():\n    a = App()\n")),
    (
        no_registering_decorators,
        ("api/a.py", "@routes.get('/')\ndef f(): ...\n"),
        ("api/a.py", "@property\ndef f(): ...\n"),
    ),
    (
        broad_except_raises,
        ("api/a.py", "def f():\n    try: g()\n    except (ValueError, Exception):\n        pass\n"),
        ("api/dispatch.py", "async def xrpc():\n    try: g()\n    except Exception: log()\n"),
    ),
    (
        broad_except_raises,
        ("api/a.py", "try: g()\nexcept: log()\n"),
        ("api/a.py", "try: g()\nexcept BaseException as e:\n    undo()\n    raise\n"),
    ),
    (no_print, ("headrace/cli.py", "print('x')\n"), ("headrace/cli.py", "sys.stdout.write('print(x)')\n")),
    (nothing_left_over, ("views/a.py", "x = 1  # TODO: more\n"), ("views/a.py", "todo = 'TODO'\n")),
    (a_docstring_says_what_it_is, ("views/a.py", "x = 1\n"), ("views/__init__.py", "")),
)


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _, _ in RULES), ids=lambda rule: rule.__name__)
def test_no_file_breaks_the_rule(rule: Rule) -> None:
    found = [broken for path in files() for broken in rule(path, (ROOT / path).read_text())]

    assert found == []


@pytest.mark.parametrize(("rule", "breaks", "holds"), RULES, ids=lambda case: getattr(case, "__name__", None))
def test_the_rule_can_fail(rule: Rule, breaks: tuple[str, str], holds: tuple[str, str]) -> None:
    assert len(list(rule(*breaks))) == 1
    assert list(rule(*holds)) == []


def test_the_rules_see_the_whole_house() -> None:
    seen = files()

    assert len(seen) > 200
    assert {path.partition("/")[0] for path in seen} == set(LAYERS)


def test_every_exception_to_a_rule_is_still_needed() -> None:
    present = [path for path in files() if "import" in (ROOT / path).read_text()]
    for library, patterns in CLIENTS.items():
        for pattern in patterns:
            users = [path for path in present if fnmatch(path, pattern) and _imports(path, library)]
            assert users, f"{library} is allowed in {pattern}, where nothing imports it"
    for path, function in TELLERS:
        handlers = _handlers(ast.parse((ROOT / path).read_text()), "")
        assert function in {name for name, _ in handlers}, f"{path} has no `except` in {function}"


def _imports(path: str, library: str) -> bool:
    return re.search(rf"^\s*(?:from|import) {library}\b", (ROOT / path).read_text(), re.MULTILINE) is not None
