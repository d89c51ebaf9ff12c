"""One XRPC method: its parameters, bodies and errors. What it checks is compiled when it is first used.

Does not own HTTP: encodings are given, not enforced.
"""

from __future__ import annotations

from typing import Any, Literal

from schemas.lexicon.compile import Compiler, default_of
from schemas.lexicon.document import Body, Object, Procedure, Query, Subscription
from schemas.lexicon.failure import Check, Failure, LexiconReason, LexiconRefused
from schemas.lexicon.query import QueryLike, Reader, reader

Kind = Literal["query", "procedure", "subscription"]


class Method:
    """A query, a procedure or a subscription. Encodings are None where there is no body, "*/*" where any will do."""

    __slots__ = (
        "_compiler",
        "_defaults",
        "_definition",
        "_input",
        "_output",
        "_reader",
        "errors",
        "input_encoding",
        "kind",
        "nsid",
        "output_encoding",
    )

    def __init__(self, nsid: str, definition: Query | Procedure | Subscription, compiler: Compiler) -> None:
        self.nsid = nsid
        self.kind: Kind = _KINDS[type(definition)]
        self.input_encoding = definition.input.encoding if definition.input is not None else None
        self.output_encoding = definition.output.encoding if definition.output is not None else None
        self.errors = frozenset(error.name for error in definition.errors)
        self._definition = definition
        self._compiler = compiler
        self._defaults = _defaults(definition.input)
        self._reader: Reader | None = None
        self._input: Check | None = None
        self._output: Check | None = None

    def params(self, query: QueryLike) -> dict[str, Any]:
        """Typed parameters of a query string, defaults filled in; raises LexiconRefused."""
        read = self._reader
        if read is None:
            read = self._reader = reader(self._definition.parameters, self._compiler, self.nsid)
        return read(query)

    def check_input(self, value: Any) -> Any:
        """The body, with the defaults of what it leaves out; raises LexiconRefused."""
        check = self._input
        if check is None:
            check = self._input = self._body(self._definition.input)
        failure = check(value)
        if failure is not None:
            raise failure.at("Input")
        return {**self._defaults, **value} if self._defaults else value

    def check_output(self, value: Any) -> None:
        """Raises LexiconRefused."""
        check = self._output
        if check is None:
            check = self._output = self._body(self._definition.output)
        failure = check(value)
        if failure is not None:
            raise failure.at("Output")

    def check_message(self, name: str, value: Any) -> None:
        """A message of a subscription by the `t` of its header, such as "#commit"; raises LexiconRefused."""
        message = self._definition.message
        if message is None or name not in message.schema.refs:
            known = ", ".join(message.schema.refs) if message is not None else "none"
            raise LexiconRefused("Message", f"Message $type must be one of {known}", LexiconReason.UNION)
        failure = self._compiler.named(self.nsid + name if name.startswith("#") else name)(value)
        if failure is not None:
            raise failure.at("Message")

    def _body(self, body: Body | None) -> Check:
        if body is None:
            return _nothing
        return _anything if body.schema is None else self._compiler.check(body.schema, self.nsid)


_KINDS: dict[type, Kind] = {Query: "query", Procedure: "procedure", Subscription: "subscription"}


def _nothing(value: object) -> Failure | None:
    return None if value is None else Failure(LexiconReason.TYPE, "must be empty")


def _anything(_value: object) -> Failure | None:
    return None


def _defaults(body: Body | None) -> dict[str, bool | int | str]:
    if body is None or not isinstance(body.schema, Object):
        return {}
    defaults = {name: default_of(field) for name, field in body.schema.properties.items()}
    return {name: default for name, default in defaults.items() if default is not None}
