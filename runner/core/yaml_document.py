"""YAML documents whose values can be located, with limits on what is read.

PyYAML first composes nodes with marks and then constructs values from them. The nodes
are kept, so every problem gets its line at no cost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import yaml

from runner.core.errors import InvalidInput, Problem
from runner.core.patterns import lazy_pattern

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # a PyYAML built without libyaml: slower, same meaning
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

# No plan needs an alias inside an alias; a "billion laughs" file consists of them.
MAX_ALIASED_NODES = 100_000
MAX_DEPTH = 100
_MAP = "tag:yaml.org,2002:map"
_LIST = "tag:yaml.org,2002:seq"
_TEXT = "tag:yaml.org,2002:str"
_BRACKET = lazy_pattern(r"[\[\]{}]")
# Indentation, and compact nesting such as "- - - x".
_LEADING = lazy_pattern(r"^[ \t\-?:]{100,}", re.MULTILINE)


class YamlDocument(NamedTuple):
    """One document as plain data, and its root `node`, None if it is empty."""

    path: str
    data: Any
    node: yaml.Node | None

    def line(self, loc: Sequence[str | int]) -> int:
        """The line, counted from 1, of the key or list item at `loc`.

        If it does not exist, the line of its nearest parent that does.
        """
        if self.node is None:
            return 1
        node, line = self.node, _line_of(self.node)
        for step in loc:
            child = _child(node, step)
            if child is None:
                break
            start, node = child
            line = _line_of(start)
        return line


def load(path: str, text: str) -> YamlDocument:
    """Parse one document; `path` is for messages.

    Raises InvalidInput for broken YAML, duplicate keys, and what is nested or aliased
    too much.
    """
    refuse_depth(path, text)
    loader = _Loader(text)
    data = None
    try:
        node = loader.get_single_node()
        if node is not None:
            if problems := list(_problems(path, node)):
                raise InvalidInput(problems)
            data = _constructed(loader, node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        what = f"not valid YAML: {error.problem}"
        raise _invalid(path, line, what, "fix the syntax there") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = f"not valid YAML: {error or type(error).__name__}"
        raise _invalid(path, None, what, "fix the file") from None
    finally:
        loader.dispose()
    return YamlDocument(path, data, node)


def refuse_depth(path: str, text: str) -> None:
    """Raises InvalidInput for YAML that is nested more than MAX_DEPTH levels deep.

    libyaml composes by recursion: a deep document ends the whole process.
    """
    # Brackets and indentation give a bound that is cheap and never too low. Only where
    # it is exceeded, as in prose with many brackets, the parser's events are counted,
    # which need no recursion.
    leading = max(map(_leading_length, _LEADING().findall(text)), default=0)
    if max(_bracket_depth(text), leading) <= MAX_DEPTH:
        return
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else None
                what = f"nested more than {MAX_DEPTH} levels deep"
                raise _invalid(path, line, what, "is this the right file?")
    except yaml.YAMLError:
        return  # `load` reports broken YAML with its line


def _invalid(path: str, line: int | None, what: str, remedy: str) -> InvalidInput:
    return InvalidInput([Problem(path, line, what, remedy)])


def _constructed(loader: Any, node: yaml.Node) -> Any:
    """The data of the document below its root `node`."""
    is_plain_mapping = (
        isinstance(node, yaml.MappingNode)
        and node.tag == _MAP
        and all(key.tag == _TEXT for key, _ in node.value)
    )
    if not is_plain_mapping:
        return loader.construct_document(node)
    # PyYAML remembers every object that it constructs at once, so a long list is
    # constructed item by item.
    data = {}
    for key, value in node.value:
        if value.tag == _LIST and isinstance(value, yaml.SequenceNode):
            data[key.value] = [loader.construct_document(item) for item in value.value]
        else:
            data[key.value] = loader.construct_document(value)
    return data


def _bracket_depth(text: str) -> int:
    depth = deepest = 0
    for bracket in _BRACKET().findall(text):
        if bracket in "[{":
            depth += 1
        else:
            depth = max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _leading_length(leading: str) -> int:
    return len(leading.strip("\n"))


def _problems(path: str, root: yaml.Node) -> Iterator[Problem]:
    """Duplicate keys, keys that are not scalars, and aliases that expand too far."""
    stack, seen, count = [root], set(), 0
    while stack:
        node = stack.pop()
        count += 1
        if id(node) in seen:
            if count > MAX_ALIASED_NODES:
                what = "its aliases expand to too many values"
                yield Problem(path, _line_of(node), what, "write the values out")
                return
        elif not isinstance(node, yaml.ScalarNode):
            seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield from _key_problems(path, node)
            stack.extend(value for _, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            stack.extend(node.value)


def _key_problems(path: str, node: yaml.Node) -> Iterator[Problem]:
    first_lines: dict[str, int] = {}
    for key, _ in node.value:
        line = _line_of(key)
        if not isinstance(key, yaml.ScalarNode):
            # Braces of a template, for example: `{{ name }}`.
            what = "a key is a list or a mapping"
            yield Problem(path, line, what, "put it in quotes")
        elif key.value in first_lines:
            first_line = first_lines[key.value]
            what = f"duplicate key {key.value!r} (first on line {first_line})"
            yield Problem(path, line, what, "keep one of the two")
        else:
            first_lines[key.value] = line


def _line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The node that a line is reported for (the key, or the list item), and the value."""
    if isinstance(node, yaml.MappingNode):
        # PyYAML puts what `<<` merged in first; the mapping's own key wins.
        for key, value in reversed(node.value):
            if key.value == str(step):
                return key, value
    if not isinstance(node, yaml.SequenceNode) or not isinstance(step, int):
        return None
    if step >= len(node.value):
        return None
    item = node.value[step]
    return item, item
