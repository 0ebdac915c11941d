"""pydantic's errors as located problems, in words that fit on one line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from runner.core.errors import Problem

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# From the path of a value in its document to its line, None if it has none.
Locate = Callable[[Sequence[str | int]], int | None]

_SHOWN = 60  # characters of a wrong value that a message repeats
_VALUE_ERROR = "Value error, "
_LISTS = frozenset({"tuple_type", "list_type"})

# What was expected, by pydantic's error type; `{…}` come from the error's context.
_EXPECTED = {
    "int_parsing": "an integer",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing_size": "a smaller integer",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "no special characters, and no spaces at its ends",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "literal_error": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
}


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice closest to `word` in spelling, ignoring case; None if none is close."""
    import difflib

    by_folded = {choice.casefold(): choice for choice in choices}
    matches = difflib.get_close_matches(
        word.casefold(), list(by_folded), n=1, cutoff=0.6
    )
    return by_folded[matches[0]] if matches else None


def problems_of(
    error: ValidationError,
    path: str,
    locate: Locate,
    model: type[BaseModel],
    prefix: Sequence[str | int] = (),
    named: Callable[[str], str] = str,
) -> list[Problem]:
    """One problem per error.

    `prefix` is the path of the validated value inside its document; `locate` gets
    paths that begin with it. `named` turns a dotted key into the name that the user
    wrote, such as a flag.
    """
    problems = []
    for details in error.errors(include_url=False):
        # "[key]" is pydantic's step to the name of an entry instead of its value.
        keys = [step for step in details["loc"] if step != "[key]"]
        line = locate([*prefix, *keys])
        what, remedy = _described(details, keys, model, named)
        problems.append(Problem(path, line, what, remedy))
    return problems


def _described(
    details: ErrorDetails,
    keys: Sequence[str | int],
    model: type[BaseModel],
    named: Callable[[str], str],
) -> tuple[str, str]:
    """The problem with one value, and the remedy ("" if the problem implies it)."""
    dotted = ".".join(str(key) for key in keys)
    if details["type"] == "extra_forbidden":
        return f"unknown key {dotted!r}", _known_keys(model, keys)
    if details["type"] == "missing":
        return f"{dotted!r} is missing", "add it"
    label = f"{named(dotted)}: " if dotted else ""
    message = details["msg"]
    if message.startswith(_VALUE_ERROR):
        what, _, remedy = message.removeprefix(_VALUE_ERROR).partition("; ")
        if not what.startswith("expected "):
            return label + what, remedy
    else:
        what, remedy = f"expected {_expected(details)}", _as_list(details, keys)
    return f"{label}{what}, got {_shown(details['input'])}", remedy


def _as_list(details: ErrorDetails, keys: Sequence[str | int]) -> str:
    """How to write the one text that was given as a list; "" if that is not the fault."""
    text = details["input"]
    if details["type"] not in _LISTS or not isinstance(text, str) or not keys:
        return ""
    items = [text]
    if keys[-1] == "command":
        try:
            items = shlex.split(text)
        except ValueError:
            return "write a list of its words"
    written = json.dumps(items, ensure_ascii=False)
    return f"write  {keys[-1]}: {written}" if len(written) <= _SHOWN else ""


def _expected(details: ErrorDetails) -> str:
    template = _EXPECTED.get(details["type"])
    if template is None:
        return details["msg"].removeprefix("Input should be ")
    return template.format_map(details.get("ctx", {}))


def _shown(value: object) -> str:
    if isinstance(value, dict | BaseModel):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    if len(text) <= _SHOWN:
        return text
    return f"{text[:_SHOWN]}…"


def _known_keys(model: type[BaseModel], keys: Sequence[str | int]) -> str:
    known = _keys_at(model, keys[:-1])
    guess = nearest(str(keys[-1]), known)
    if guess is not None:
        return f"did you mean {guess!r}?"
    return f"known here: {', '.join(known)}"


def _keys_at(model: type[BaseModel], keys: Sequence[str | int]) -> list[str]:
    """The keys that a user may write in the nested model below `keys`."""
    for key in keys:
        field = model.model_fields.get(str(key))
        annotation = field.annotation if field else None
        for candidate in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
                break
    return [name for name, field in model.model_fields.items() if not field.exclude]
