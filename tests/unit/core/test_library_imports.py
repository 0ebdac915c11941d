"""Libraries behave as they do otherwise, in a process of its own: here they are imported
already.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_INSTALL = "from runner.core import library_imports; library_imports.install()\n"


def evaluated(program: str) -> None:
    subprocess.run(
        [sys.executable, "-c", _INSTALL + program],
        cwd=Path(__file__).parents[3],
        check=True,
    )


def test_the_yaml_loader_in_python_reads_and_refuses_what_it_does_otherwise() -> None:
    evaluated(
        """
import datetime, yaml
text = "{a: 1, b: 1.5, c: yes, d: 2026-01-02, e: ~, f: 0x1f}"
day = datetime.date(2026, 1, 2)
wanted = {"a": 1, "b": 1.5, "c": True, "d": day, "e": None, "f": 31}
assert yaml.load(text, yaml.SafeLoader) == wanted
assert yaml.load(text, yaml.CSafeLoader) == wanted
try:
    yaml.load("a: \\x01", yaml.SafeLoader)
    raise SystemExit("an unprintable character was read")
except yaml.reader.ReaderError:
    pass
"""
    )


def test_models_with_typed_dictionaries_are_validated_as_otherwise() -> None:
    evaluated(
        """
import typing, typing_extensions
from pydantic import BaseModel, ValidationError
assert typing_extensions.is_typeddict(typing.TypedDict("A", {}))
class Point(typing_extensions.TypedDict):
    x: int
class Model(BaseModel):
    point: Point
assert Model(point={"x": "1"}).point == {"x": 1}
try:
    Model(point={"y": 1})
    raise SystemExit("a missing key was not noticed")
except ValidationError:
    pass
"""
    )


def test_patterns_and_typed_dictionaries_of_other_modules_are_real() -> None:
    evaluated(
        """
import re, typing, yaml, pydantic.main, pydantic_core.core_schema
assert isinstance(re.compile("a"), re.Pattern)
assert typing.is_typeddict(typing.TypedDict("A", {}))
assert not isinstance(pydantic_core.core_schema.IntSchema, typing._TypedDictMeta)
assert not isinstance(yaml.reader.Reader.NON_PRINTABLE, re.Pattern)
"""
    )


def test_it_is_installed_once() -> None:
    evaluated(
        """
import sys
before = list(sys.meta_path)
library_imports.install()
assert sys.meta_path == before
"""
    )
