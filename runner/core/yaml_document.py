"""YAML text to plain data that still knows on which line each value stands.

PyYAML's C loader composes nodes with marks first and constructs values from them;
keeping the nodes costs nothing and lets every problem be located.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from runner.core.errors import InvalidInput, Problem

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # a PyYAML built without libyaml: slower, same meaning
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

# A plan needs no alias inside an alias; a "billion laughs" file is made of nothing
# else.
MAX_ALIASED_NODES = 100_000
MAX_DEPTH = 100
_MAP, _LIST, _TEXT = (f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str"))
_BRACKET = re.compile(r"[\[\]{}]")
# indentation and compact nesting such as "- - - x"
_LEADING = re.compile(r"^[ \t\-?:]{100,}", re.MULTILINE)


@dataclass(frozen=True)
class YamlDocument:
    """The data of one YAML document, and `node` to find lines by."""

    path: str
    data: Any
    node: yaml.Node | None

    def line(self, loc: Sequence[str | int]) -> int:
        """1-based line where the key or the list item at `loc` stands, or the nearest
        parent that exists.
        """
        node, line = (
            self.node,
            self.node.start_mark.line + 1 if self.node is not None else 1,
        )
        for step in loc:
            found = _child(node, step)
            if found is None:
                break
            place, node = found
            line = place.start_mark.line + 1
        return line


def load(path: str, text: str) -> YamlDocument:
    """Parse one document. InvalidInput with place and remedy for broken YAML, doubled
    keys, bombs of any kind.
    """
    refuse_depth(path, text)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        problems = list(_problems(path, node)) if node is not None else []
        if problems:
            raise InvalidInput(problems)
        data = _constructed(loader, node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InvalidInput(
            [
                Problem(
                    path,
                    mark.line + 1 if mark else None,
                    f"not valid YAML: {error.problem}",
                    "mend the syntax there",
                )
            ]
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(
            [
                Problem(
                    path,
                    None,
                    f"not valid YAML: {error or type(error).__name__}",
                    "mend the file",
                )
            ]
        ) from None
    finally:
        loader.dispose()
    return YamlDocument(path, data, node)


def _constructed(loader: Any, node: yaml.Node) -> Any:
    """The data of the document, a long list below its root item by item: PyYAML
    remembers every object of what it constructs at once.
    """
    if (
        not isinstance(node, yaml.MappingNode)
        or any(key.tag != _TEXT for key, _ in node.value)
        or node.tag != _MAP
    ):
        return loader.construct_document(node)
    return {
        key.value: [loader.construct_document(item) for item in value.value]
        if value.tag == _LIST and isinstance(value, yaml.SequenceNode)
        else loader.construct_document(value)
        for key, value in node.value
    }


def refuse_depth(path: str, text: str) -> None:
    """InvalidInput for YAML nested deeper than MAX_DEPTH: libyaml composes by recursion
    and dies of it, Python and all.

    A bound that errs upwards is taken from brackets and indentation first; only where
    that is exceeded, as prose with many brackets can, the parser's events, which need
    no recursion, say how deep it really is.
    """
    if (
        _bracket_depth(text) <= MAX_DEPTH
        and max(map(_line_depth, _LEADING.findall(text)), default=0) <= MAX_DEPTH
    ):
        return
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
                event, yaml.CollectionEndEvent
            )
            if depth > MAX_DEPTH:
                told = f"not valid YAML for a plan: nested more than {MAX_DEPTH} deep"
                line = event.start_mark.line + 1 if event.start_mark else None
                raise InvalidInput(
                    [Problem(path, line, told, "no plan is; is this the right file?")]
                )
    except yaml.YAMLError:
        return  # what is broken is told by the loader, with its place


def _bracket_depth(text: str) -> int:
    depth = deepest = 0
    for bracket in _BRACKET.findall(text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _line_depth(leading: str) -> int:
    return len(leading.strip("\n"))


def _problems(path: str, root: yaml.Node) -> Iterator[Problem]:
    """Doubled keys, and more nodes than the text can hold without aliases multiplying
    them.
    """
    stack, seen, count = [root], set(), 0
    while stack:
        node = stack.pop()
        count += 1
        if id(node) in seen:
            if count > MAX_ALIASED_NODES:
                yield Problem(
                    path,
                    node.start_mark.line + 1,
                    "aliases multiply without end",
                    "write the values out",
                )
                return
        elif not isinstance(node, yaml.ScalarNode):
            seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield from _doubled(path, node)
            stack.extend(value for _, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            stack.extend(node.value)


def _doubled(path: str, node: yaml.MappingNode) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            yield Problem(
                path,
                key.start_mark.line + 1,
                "a list or a mapping stands where a key should",
                "put it in quotes",
            )
        elif key.value in first:
            yield Problem(
                path,
                key.start_mark.line + 1,
                f"the key {key.value!r} stands here a second time (first on line {first[key.value]})",
                "keep one of the two",
            )
        else:
            first[key.value] = key.start_mark.line + 1


def _child(
    node: yaml.Node | None, step: str | int
) -> tuple[yaml.Node, yaml.Node] | None:
    """Where `step` stands (its key, or itself in a list) and its value."""
    if isinstance(node, yaml.MappingNode):
        # PyYAML puts what `<<` merged in first: the mapping's own key counts
        for key, value in reversed(node.value):
            if key.value == str(step):
                return key, value
    if (
        isinstance(node, yaml.SequenceNode)
        and isinstance(step, int)
        and step < len(node.value)
    ):
        return node.value[step], node.value[step]
    return None
