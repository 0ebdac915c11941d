"""Evaluate an expression of GitHub Actions whose contexts are all known.

For the model of the scheduler, which has no act to ask. Source of the rules: GitHub's
"Evaluate expressions in workflows and actions".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from tests.support.github import expressions

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<name>[A-Za-z_][\w-]*)|(?P<op>&&|\|\||==|!=|<=|>=|[!<>()\[\],.*]))"
)

Context = Mapping[str, object]


def evaluate(expression: str, context: Context) -> object:
    """The value of an expression. Raises LookupError for a context that is not there."""
    parser = _Parser(_tokens(expression), context)
    compute = parser.disjunction()
    if parser.rest:
        raise ValueError(f"unexpected {parser.rest[0]} in {expression}")
    return compute()


def text_of(scalar: object, context: Context) -> str:
    """A YAML scalar with its embedded expressions evaluated, as text."""
    return to_text(evaluate(expressions.as_expression(scalar), context))


def is_true(value: object) -> bool:
    """Whether a value counts as true: not for false, 0, an empty string and null."""
    return value not in (False, 0, "", None)


def to_text(value: object) -> str:
    """A value as it stands in text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"cannot read {text[position:]!r}")
        kind = str(match.lastgroup)
        tokens.append((kind, match[kind]))
        position = match.end()
    return tokens


Thunk = Callable[[], object]


class _Parser:
    """Reads the tokens from left to right, the loosest operator first.

    Makes functions that compute the value, because `&&` and `||` compute their right
    side only if they need it.
    """

    def __init__(self, tokens: list[tuple[str, str]], context: Context) -> None:
        self.rest = tokens
        self.context = context

    def take(self, *operators: str) -> str | None:
        """Take the next token if it is one of these operators."""
        if self.rest and self.rest[0][0] == "op" and self.rest[0][1] in operators:
            return self.rest.pop(0)[1]
        return None

    def disjunction(self) -> Thunk:
        value = self.conjunction()
        while self.take("||"):
            value = _either(value, self.conjunction(), wanted=False)
        return value

    def conjunction(self) -> Thunk:
        value = self.comparison()
        while self.take("&&"):
            value = _either(value, self.comparison(), wanted=True)
        return value

    def comparison(self) -> Thunk:
        value = self.unary()
        while operator := self.take("==", "!="):
            value = _compared(value, self.unary(), equal=operator == "==")
        return value

    def unary(self) -> Thunk:
        if self.take("!"):
            value = self.unary()
            return lambda: not is_true(value())
        return self.postfix()

    def postfix(self) -> Thunk:
        value = self.primary()
        while True:
            if self.take("."):
                if not self.take("*"):  # the fields of a list are those of each item
                    value = _field(value, _constant(self.rest.pop(0)[1]))
            elif self.take("["):
                value = _field(value, self.disjunction())
                self.take("]")
            else:
                return value

    def primary(self) -> Thunk:
        if self.take("("):
            value = self.disjunction()
            self.take(")")
            return value
        kind, text = self.rest.pop(0)
        if kind == "string":
            return _constant(text[1:-1].replace("''", "'"))
        if kind == "number" or text in ("true", "false", "null"):
            return _constant(json.loads(text))
        if self.take("("):
            function = _FUNCTIONS[text.lower()]
            arguments = self.arguments()
            return lambda: function([argument() for argument in arguments])
        return lambda: self.context[text]

    def arguments(self) -> list[Thunk]:
        thunks: list[Thunk] = []
        while not self.take(")"):
            thunks.append(self.disjunction())
            self.take(",")
        return thunks


def _constant(value: object) -> Thunk:
    return lambda: value


def _either(left: Thunk, right: Thunk, *, wanted: bool) -> Thunk:
    """The right side if the left one counts as `wanted`, else the left one."""

    def value() -> object:
        first = left()
        return right() if is_true(first) is wanted else first

    return value


def _compared(left: Thunk, right: Thunk, *, equal: bool) -> Thunk:
    return lambda: _equal(left(), right()) is equal


def _field(value: Thunk, name: Thunk) -> Thunk:
    return lambda: _member(value(), to_text(name()))


def _member(value: object, name: str) -> object:
    if isinstance(value, list):  # after `.*`: this field of each
        return [_member(item, name) for item in value]
    return value.get(name) if isinstance(value, Mapping) else None


def _equal(left: object, right: object) -> bool:
    """Strings are compared without case; null, false and "" are different values that a
    comparison makes numbers of.
    """
    if isinstance(left, str) and isinstance(right, str):
        return left.casefold() == right.casefold()
    if type(left) is type(right):
        return left == right
    return _number(left) == _number(right)


def _number(value: object) -> float:
    if value in (None, "", False):
        return 0.0
    if isinstance(value, bool | int | float):
        return float(value)
    try:
        return float(str(value))
    except ValueError:
        return float("nan")


def _contains(values: Sequence[object]) -> bool:
    where, what = values
    if isinstance(where, list):
        return any(_equal(item, what) for item in where)
    return to_text(what).casefold() in to_text(where).casefold()


def _format(values: Sequence[object]) -> str:
    return to_text(values[0]).format(*(to_text(value) for value in values[1:]))


_FUNCTIONS: dict[str, Callable[[Sequence[object]], object]] = {
    "contains": _contains,
    "format": _format,
    "fromjson": lambda values: json.loads(to_text(values[0])),
    "tojson": lambda values: json.dumps(values[0]),
    "startswith": lambda values: (
        to_text(values[0]).casefold().startswith(to_text(values[1]).casefold())
    ),
}
