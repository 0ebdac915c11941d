"""Rewrite GitHub Actions expressions inside parsed YAML, token by token.

Only contexts (`inputs.x`, `github.token`, `needs['a'].outputs.b`) are ever replaced:
string literals and function names are left alone, which a search and replace over the
file's text could not promise.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

Path = tuple[str, ...]
# Given a context's path, the expression that takes its place and how many segments of
# the path that covers.
Replace = Callable[[Path], "tuple[str, int] | None"]
# What an expression may come to: a type (string, number, boolean, null or any) and
# whether that is true in a condition.
Outcomes = frozenset[tuple[str, bool]]

_STRING = r"'(?:[^']|'')*'"
_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_SEGMENT = rf"\s*\.\s*(?:{_NAME}|\*)|\s*\[\s*{_STRING}\s*\]"
_TOKEN = re.compile(
    rf"(?P<string>{_STRING})|(?P<path>{_NAME}(?:{_SEGMENT})*)"
    # A field of a function's result, as in `fromJSON(inputs.x).matrix`, is no context.
    rf"|(?P<other>\)(?:{_SEGMENT})+|[0-9][A-Za-z0-9_.]*|.)",
    re.DOTALL,
)
_EMBEDDED = re.compile(rf"\$\{{\{{((?:{_STRING}|[^'}}]|\}}(?!\}}))*)\}}\}}", re.DOTALL)
_STATUS_FUNCTION = re.compile(
    r"\b(always|cancelled|success|failure)\s*\(\s*\)", re.IGNORECASE
)


def literal(value: object) -> str:
    """A Python value as an expression."""
    if value is None:
        return "''"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return "'" + text.replace("'", "''") + "'"


def as_expression(value: object) -> str:
    """A YAML scalar, with or without embedded expressions, as one expression."""
    if not isinstance(value, str):
        return literal(value)
    whole = _EMBEDDED.fullmatch(value.strip())
    if whole:
        return f"({whole[1].strip()})"
    parts = _EMBEDDED.split(value)
    if len(parts) == 1:
        return literal(value)
    text = "".join(
        part.replace("{", "{{").replace("}", "}}")
        if index % 2 == 0
        else f"{{{index // 2}}}"
        for index, part in enumerate(parts)
    )
    return f"format({literal(text)}, {', '.join(part.strip() for part in parts[1::2])})"


def embed(expression: str) -> str:
    """An expression as a YAML scalar."""
    return f"${{{{ {expression} }}}}"


def condition(value: object) -> str:
    """The bare expression of an `if:`, which may be written with or without the braces."""
    return (
        as_expression(value)
        if isinstance(value, str) and "${{" in value
        else f"({str(value).strip()})"
        if isinstance(value, str)
        else literal(value)
    )


def asks_status(expression: str) -> bool:
    """Whether a condition has a status function; without one GitHub puts `success() &&`
    before it.
    """
    return any(_STATUS_FUNCTION.search(text) for text in re.split(_STRING, expression))


def without_status(expression: str) -> str:
    """The condition with its status functions true, for where their own job is not the
    one asked about.
    """
    pieces = re.split(f"({_STRING})", expression)
    return "".join(
        piece
        if index % 2
        else re.sub(
            r"!\s*cancelled\s*\(\s*\)|\balways\s*\(\s*\)|\bsuccess\s*\(\s*\)",
            "true",
            piece,
            flags=re.IGNORECASE,
        )
        for index, piece in enumerate(pieces)
    )


@functools.cache
def _segments(token: str) -> Path:
    """`needs['a'].outputs.b` as its names."""
    found = re.findall(rf"({_STRING})|({_NAME}|\*)", token)
    return tuple(
        quoted[1:-1].replace("''", "'") if quoted else name for quoted, name in found
    )


def _joined(head: str, rest: Path) -> str:
    plain = re.compile(rf"{_NAME}|\*")
    return head + "".join(
        f".{name}" if plain.fullmatch(name) else f"[{literal(name)}]" for name in rest
    )


def rewrite_expression(expression: str, replace: Replace) -> str:
    """The expression with every context that `replace` knows exchanged."""

    def one(match: re.Match[str]) -> str:
        token = match["path"]
        if token is None or expression[match.end() :].lstrip().startswith("("):
            return match[0]
        path = _segments(token)
        found = replace(path)
        return token if found is None else _joined(found[0], path[found[1] :])

    return _TOKEN.sub(one, expression)


def rewrite_text(text: str, replace: Replace) -> str:
    """A scalar with the expressions embedded in it rewritten."""
    return _EMBEDDED.sub(
        lambda match: embed(rewrite_expression(match[1], replace).strip()), text
    )


def rewrite(node: Any, replace: Replace, key: str = "") -> Any:
    """A whole document rewritten; `if:` is an expression even without braces."""
    if isinstance(node, dict):
        return {
            name: rewrite(value, replace, str(name)) for name, value in node.items()
        }
    if isinstance(node, list):
        return [rewrite(value, replace) for value in node]
    if not isinstance(node, str):
        return node
    if key == "if" and "${{" not in node:
        return rewrite_expression(node, replace)
    return rewrite_text(node, replace)


def constant(expression: str) -> object:
    """The value of an expression made of literals, `fromJSON` and `||`; LookupError for
    anything else.
    """
    text = expression.strip()
    while text.startswith("(") and _closes_at_end(text):
        text = text[1:-1].strip()
    if re.fullmatch(_STRING, text):
        return text[1:-1].replace("''", "'")
    if re.fullmatch(r"-?\d+(\.\d+)?|true|false|null", text):
        return json.loads(text)
    left, bar, right = _split(text, "||")
    if bar:
        return constant(left) or constant(right)
    inner = re.fullmatch(r"fromJSON\s*(\(.*\))", text, re.IGNORECASE | re.DOTALL)
    if inner and _closes_at_end(inner[1]):
        return json.loads(str(constant(inner[1])))
    raise LookupError(expression)


@functools.cache
def _depths(text: str) -> list[int]:
    """How many brackets are open after each character, text inside strings left out."""
    blank = re.sub(_STRING, lambda match: " " * len(match[0]), text)
    depth, depths = 0, []
    for char in blank:
        depth += (char == "(") - (char == ")")
        depths.append(depth)
    return depths


def _closes_at_end(text: str) -> bool:
    depths = _depths(text)
    return 0 in depths and depths.index(0) == len(text) - 1


@functools.cache
def _split(text: str, operator: str) -> tuple[str, str, str]:
    """The text before, of and after the first such operator outside strings and
    brackets.
    """
    blank = re.sub(_STRING, lambda match: " " * len(match[0]), text)
    depths = _depths(text)
    width = len(operator)
    for at in range(len(text) - width + 1):
        if blank[at : at + width] == operator and depths[at] == 0:
            return text[:at], operator, text[at + width :]
    return text, "", ""


def outcomes(expression: str, context: Callable[[Path], Outcomes]) -> Outcomes:
    """The types that an expression may have at run time; `context` says them for a path
    such as `needs.a.result`.
    """
    text = expression.strip()
    while text.startswith("(") and _closes_at_end(text):
        text = text[1:-1].strip()
    left, operator, right = _split(text, "||")
    if operator:
        first, second = outcomes(left, context), outcomes(right, context)
        return _with(first, True) | (second if _with(first, False) else frozenset())
    left, operator, right = _split(text, "&&")
    if operator:
        first, second = outcomes(left, context), outcomes(right, context)
        return _with(first, False) | (second if _with(first, True) else frozenset())
    if any(_split(text, operator)[1] for operator in ("==", "!=", "<", ">")):
        return either("boolean")
    if text.startswith("!"):
        return frozenset(
            ("boolean", not true) for _, true in outcomes(text[1:], context)
        )
    try:
        return _outcome_of(constant(text))
    except LookupError:
        pass
    call = re.fullmatch(rf"({_NAME})\s*(\(.*\))", text, re.DOTALL)
    if call and _closes_at_end(call[2]):
        return either(_FUNCTIONS.get(call[1].lower(), "any"))
    return context(_segments(text))


_FUNCTIONS = {
    **dict.fromkeys(
        (
            "always",
            "cancelled",
            "contains",
            "endswith",
            "failure",
            "startswith",
            "success",
        ),
        "boolean",
    ),
    **dict.fromkeys(("format", "hashfiles", "join", "tojson"), "string"),
}


def either(kind: str) -> Outcomes:
    """A value of this type of which nothing else is known."""
    return frozenset({(kind, True), (kind, False)})


def _with(values: Outcomes, true: bool) -> Outcomes:
    return frozenset(value for value in values if value[1] is true)


def _outcome_of(value: object) -> Outcomes:
    kinds = {
        bool: "boolean",
        int: "number",
        float: "number",
        str: "string",
        type(None): "null",
    }
    return frozenset({(kinds.get(type(value), "any"), bool(value))})
