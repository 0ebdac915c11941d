"""What a page shows of a Markdown text: the rest is left out, since who reads the page
vouches for what it shows.

Which lines are code, HTML or a definition is asked of a Markdown parser, because every
imitation of one is a hole. Code stays as it is; elsewhere go comments, processing
instructions, declarations, attributes of tags, titles, texts that stand for images,
definitions, footnotes that nothing refers to, blocks that are drawn instead of shown,
and characters that take no room.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

# Zero width, soft hyphen, fillers, selectors of variants, marks of direction, and the
# tags from U+E0000.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MARKUP = re.compile(
    r"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[.*?\]\]>|<![A-Za-z][^>]*>", re.DOTALL
)
_UNCLOSED = re.compile(r"<(?:!--|\?|!\[CDATA\[|![A-Za-z]).*\Z", re.DOTALL)
_TAG = re.compile(
    r"<(?P<name>/?[A-Za-z][A-Za-z0-9-]*)(?P<rest>(?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>"
)
_ADDRESS = re.compile(
    r"""\b(href|src)\s*=\s*("[^"<>\s]*"|'[^'<>\s]*')""", re.IGNORECASE
)
_FENCE = re.compile(r"[^`~]*(?:`{3,}|~{3,})\s*[^\s`]{0,30}")
_FOOTNOTE = re.compile(r"[ >]*\[\^(?P<label>[^\]\s]+)\]:")
# GitHub draws these blocks
_DRAWN = frozenset({"mermaid", "math", "geojson", "topojson", "stl"})


def rendered_text(text: str) -> str:
    """The text without what a page of GitHub's does not show."""
    shown = _UNSEEN.sub(
        "", _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    )
    lines: list[str | None] = list(_without_footnotes(shown.split("\n")))
    source = "\n".join(str(line) for line in lines)
    env: dict[str, Any] = {}
    for token in MarkdownIt("commonmark").parse(source, env):
        if token.map is not None and (clean := _CLEANERS.get(token.type)):
            first, end = token.map[0], min(token.map[1], len(lines))
            kept = clean(
                token, "\n".join(line for line in lines[first:end] if line is not None)
            )
            _replace(lines, first, end, kept)
    _drop_definitions(lines, env)
    return "\n".join(line for line in lines if line is not None)


def _replace(lines: list[str | None], first: int, end: int, text: str) -> None:
    """Put the text, which has no more lines, in place of these; the numbers of the
    others stay.
    """
    new = text.split("\n")
    lines[first:end] = [*new, *[None] * (end - first - len(new))]


def _html(_: Token, text: str) -> str:
    return _without_attributes(_UNCLOSED.sub("", _MARKUP.sub("", text)))


def _inline(token: Token, text: str) -> str:
    children = list(_children(token))
    if any(child.type == "html_inline" for child in children):
        text = _without_attributes(_MARKUP.sub("", text))
    for child in children:
        if child.type == "image" and child.content:
            text = text.replace(f"![{child.content}]", "![]")
        title = (
            child.attrs.get("title") if child.type in {"image", "link_open"} else None
        )
        if title:
            text = _without_title(text, str(title))
    return text


def _children(token: Token) -> Iterator[Token]:
    for child in token.children or ():
        yield child
        yield from _children(child)


def _without_title(text: str, title: str) -> str:
    """Without a link's title, also where it is spelt with escapes: everything from its
    quote to the bracket.
    """
    for quoted in (f'"{title}"', f"'{title}'", f"({title})"):
        if quoted in text:
            return text.replace(quoted, "")
    return re.sub(r"""(\]\([^()\s]*)\s+["'(][^\n]*(?=\))""", r"\1", text)


def _without_attributes(text: str) -> str:
    def bare(tag: re.Match[str]) -> str:
        kept = "".join(
            f" {name}={value}" for name, value in _ADDRESS.findall(tag["rest"])
        )
        return f"<{tag['name']}{kept}>"

    return _TAG.sub(bare, text)


def _code(token: Token, text: str) -> str:
    """Code as it is; of what stands behind its fence the language, and nothing of a
    block that is drawn.
    """
    word = token.info.strip().split(maxsplit=1)[0] if token.info.strip() else ""
    if word.casefold() in _DRAWN:
        return ""
    first, line, rest = text.partition("\n")
    opened = _FENCE.match(first)
    return (opened[0].rstrip() if opened else first) + line + rest


_CLEANERS: Mapping[str, Callable[[Token, str], str]] = {
    "html_block": _html,
    "inline": _inline,
    "fence": _code,
}


def _drop_definitions(lines: list[str | None], env: Mapping[str, Any]) -> None:
    """Leave out link definitions, but for the address of a label that the text shows."""
    found = [
        *env.get("references", {}).items(),
        *((one["label"], one) for one in env.get("duplicate_refs", ())),
    ]
    rest = [line for line in lines if line is not None]
    for label, definition in found:
        first, end = definition["map"]
        end = min(end, len(lines))
        lines[first:end] = [None] * (end - first)
        shown = any(
            f"[{label}]".casefold() in " ".join(line.split()).casefold()
            for line in rest
            if "]:" not in line
        )
        if shown and not re.search(r"[\s<>]|%20", definition["href"]):
            lines[first] = f"[{label.lower()}]: {definition['href']}"


def _without_footnotes(lines: Sequence[str]) -> Iterator[str]:
    """Without footnotes that nothing refers to, and all that is indented below them."""
    text = "\n".join(lines)
    dropping = False
    for line in lines:
        if note := _FOOTNOTE.match(line):
            dropping = text.count(f"[^{note['label']}]") < 2
        elif dropping and line.strip() and not line.startswith((" ", "\t")):
            dropping = False
        if not dropping:
            yield line
