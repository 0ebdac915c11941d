"""pydantic's complaints about a document, turned into located problems a person can act
on.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

from pydantic import BaseModel, ValidationError

from runner.core.errors import Problem

Locate = Callable[[Sequence[str | int]], int | None]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to `word` in spelling, if one is close; case alone never
    keeps two apart.
    """
    by_folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def problems_of(
    error: ValidationError,
    path: str,
    locate: Locate,
    model: type[BaseModel],
    prefix: Sequence[str | int] = (),
    named: Callable[[str], str] = str,
) -> list[Problem]:
    """One problem per complaint; `prefix` is where the value lies in the document,
    `named` writes a key's name.
    """
    return [
        _problem(
            item["loc"], item["type"], item["msg"], path, locate, model, prefix, named
        )
        for item in error.errors(include_url=False, include_context=False)
    ]


def _problem(
    loc: tuple[str | int, ...],
    kind: str,
    message: str,
    path: str,
    locate: Locate,
    model: type[BaseModel],
    prefix: Sequence[str | int],
    named: Callable[[str], str],
) -> Problem:
    # pydantic's step to the name of an entry, not to its value
    loc = tuple(step for step in loc if step != "[key]")
    line = locate([*prefix, *loc])
    name = ".".join(str(part) for part in loc)
    if kind == "extra_forbidden":
        known = _keys_at(model, loc[:-1])
        guess = nearest(str(loc[-1]), known)
        remedy = (
            f"did you mean {guess!r}?" if guess else f"known here: {', '.join(known)}"
        )
        return Problem(path, line, f"unknown key {name!r}", remedy)
    if kind == "missing":
        return Problem(path, line, f"{name!r} is missing", "add it")
    if kind == "string_pattern_mismatch":
        message = "a character in it, or at one of its ends, is not allowed here"
    message = message.replace("a valid tuple", "a list").replace(
        "a valid string", "text"
    )
    message = message.replace("a valid integer", "a whole number").replace(
        "a valid number", "a number"
    )
    message = message.partition(", unable to parse string")[0]
    said = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return Problem(
        path,
        line,
        f"{named(name) if name else 'the value'} is not usable",
        f"it should be {said}" if message.startswith("Input should be ") else said,
    )


def _keys_at(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    for step in loc:
        field = model.model_fields.get(str(step))
        nested = field.annotation if field else None
        candidates = [nested, *getattr(nested, "__args__", ())]
        inner = next(
            (c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)),
            None,
        )
        model = inner or model
    return [name for name, field in model.model_fields.items() if not field.exclude]
