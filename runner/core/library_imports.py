"""Modules of libraries of which fanin uses little: what takes long in their import is
left until it is used.
"""

from __future__ import annotations

import re
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_compile = re.compile


def install() -> None:
    """From now on the modules of `_DURING_IMPORT` are imported so."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


@contextmanager
def _patterns_are_compiled_later() -> Iterator[None]:
    """What `re.compile` returns compiles the pattern at its first use."""
    re.compile = _LazyPattern  # type: ignore[assignment]
    try:
        yield
    finally:
        re.compile = _compile


class _LazyPattern:
    """Has all that the compiled pattern has."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._arguments, self._options = arguments, options

    def __getattr__(self, name: str) -> Any:
        value = getattr(_compile(*self._arguments, **self._options), name)
        setattr(self, name, value)  # the next time it is found there
        return value


@contextmanager
def _typed_dicts_are_plain() -> Iterator[None]:
    """A subclass of `TypedDict` is one of dict, and nothing compiles its annotations."""
    import typing_extensions  # has to find the real one

    class PlainDict(dict[str, Any]):
        def __init_subclass__(cls, *, total: bool = True) -> None:
            """Takes what `TypedDict` takes."""

    modules: tuple[Any, ...] = (typing, typing_extensions)
    before = [module.TypedDict for module in modules]
    for module in modules:
        module.TypedDict = PlainDict
    try:
        yield
    finally:
        for module, its_own in zip(modules, before, strict=True):
            module.TypedDict = its_own


_DURING_IMPORT: dict[str, Callable[[], AbstractContextManager[None]]] = {
    # A pattern that only PyYAML's loader in Python uses takes half of PyYAML's import.
    "yaml.reader": _patterns_are_compiled_later,
    "yaml.resolver": _patterns_are_compiled_later,
    "yaml.constructor": _patterns_are_compiled_later,
    # A hundred classes that only type checkers use take a seventh of pydantic's.
    "pydantic_core.core_schema": _typed_dicts_are_plain,
}


class _Finder:
    """For `sys.meta_path`: finds what is named there as Python does."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        during = _DURING_IMPORT.get(name)
        if during is None:
            return None
        from importlib.machinery import PathFinder  # not for `fanin --help`

        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            with during():
                execute(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
