"""The part of a Markdown text that GitHub's web page shows.

Whoever approves an issue has read the page, so text that it hides must not reach an
agent. A Markdown parser decides which lines are code, HTML or a definition, because
anything less could be tricked. Code stays as it is. Removed everywhere else: comments,
processing instructions, declarations, attributes of tags, titles, alternative texts of
images, definitions, footnotes without a reference, blocks that are drawn as diagrams,
and zero-width characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

# Zero width, soft hyphen, fillers, variation selectors, direction marks, and the tag
# characters from U+E0000.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_HIDDEN_MARKUP = re.compile(
    r"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[.*?\]\]>|<![A-Za-z][^>]*>", re.DOTALL
)
_UNCLOSED_MARKUP = re.compile(r"<(?:!--|\?|!\[CDATA\[|![A-Za-z]).*\Z", re.DOTALL)
_TAG = re.compile(
    r"<(?P<name>/?[A-Za-z][A-Za-z0-9-]*)"
    r"(?P<attributes>(?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>"
)
_ADDRESS = re.compile(
    r"""\b(href|src)\s*=\s*("[^"<>\s]*"|'[^'<>\s]*')""", re.IGNORECASE
)
_LINK_TITLE = re.compile(r"""(\]\([^()\s]*)\s+["'(][^\n]*(?=\))""")
_FENCE = re.compile(r"[^`~]*(?:`{3,}|~{3,})\s*[^\s`]{0,30}")
_FOOTNOTE = re.compile(r"[ >]*\[\^(?P<label>[^\]\s]+)\]:")
# GitHub draws these blocks instead of showing their text.
_DRAWN = frozenset({"mermaid", "math", "geojson", "topojson", "stl"})

# One item a line of the text; None for a line that is left out, so that the parser's
# line numbers stay valid.
Lines = list[str | None]


def rendered_text(text: str) -> str:
    """Return the text without what a page of GitHub does not show."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _INVISIBLE.sub("", _CONTROL.sub("", text))
    source_lines = list(_without_unused_footnotes(text.split("\n")))
    lines: Lines = list(source_lines)
    env: dict[str, Any] = {}
    for token in MarkdownIt("commonmark").parse("\n".join(source_lines), env):
        clean = _CLEANERS.get(token.type)
        if clean is None or token.map is None:
            continue
        first = token.map[0]
        end = min(token.map[1], len(lines))
        _replace(lines, first, end, clean(token, _join(lines[first:end])))
    _drop_definitions(lines, env)
    return _join(lines)


def _join(lines: Sequence[str | None]) -> str:
    return "\n".join(line for line in lines if line is not None)


def _replace(lines: Lines, first: int, end: int, text: str) -> None:
    """Replace the lines from `first` up to `end` by a text of no more lines."""
    new_lines: Lines = list(text.split("\n"))
    dropped = end - first - len(new_lines)
    lines[first:end] = new_lines + [None] * dropped


def _clean_html_block(_: Token, text: str) -> str:
    text = _HIDDEN_MARKUP.sub("", text)
    return _without_attributes(_UNCLOSED_MARKUP.sub("", text))


def _clean_inline(token: Token, text: str) -> str:
    children = list(_descendants(token))
    if any(child.type == "html_inline" for child in children):
        text = _without_attributes(_HIDDEN_MARKUP.sub("", text))
    for child in children:
        if child.type == "image" and child.content:
            text = text.replace(f"![{child.content}]", "![]")
        if child.type in {"image", "link_open"} and child.attrs.get("title"):
            text = _without_title(text, str(child.attrs["title"]))
    return text


def _descendants(token: Token) -> Iterator[Token]:
    for child in token.children or ():
        yield child
        yield from _descendants(child)


def _without_title(text: str, title: str) -> str:
    for quoted in (f'"{title}"', f"'{title}'", f"({title})"):
        if quoted in text:
            return text.replace(quoted, "")
    # The title is written with escapes: drop everything from its quote to the bracket.
    return _LINK_TITLE.sub(r"\1", text)


def _without_attributes(text: str) -> str:
    return _TAG.sub(_bare_tag, text)


def _bare_tag(tag: re.Match[str]) -> str:
    addresses = [
        f" {name}={value}" for name, value in _ADDRESS.findall(tag["attributes"])
    ]
    return f"<{tag['name']}{''.join(addresses)}>"


def _clean_fence(token: Token, text: str) -> str:
    """Keep the code, but only the language of the text after the opening fence."""
    language = next(iter(token.info.split()), "")
    if language.casefold() in _DRAWN:
        return ""
    opening, newline, code = text.partition("\n")
    fence = _FENCE.match(opening)
    if fence is not None:
        opening = fence[0].rstrip()
    return opening + newline + code


_CLEANERS: Mapping[str, Callable[[Token, str], str]] = {
    "html_block": _clean_html_block,
    "inline": _clean_inline,
    "fence": _clean_fence,
}


def _drop_definitions(lines: Lines, env: Mapping[str, Any]) -> None:
    """Drop link definitions; of one that the text uses, keep label and address.

    `env` is what the parser collected while it read the lines.
    """
    definitions = list(env.get("references", {}).items())
    duplicates = env.get("duplicate_refs", ())
    definitions += [(duplicate["label"], duplicate) for duplicate in duplicates]
    other_lines = [line for line in lines if line is not None and "]:" not in line]
    for label, definition in definitions:
        first, end = definition["map"]
        end = min(end, len(lines))
        lines[first:end] = [None] * (end - first)
        address = definition["href"]
        # An address with blanks could hold a sentence that an agent obeys.
        is_plain = not re.search(r"[\s<>]|%20", address)
        if is_plain and _is_used(label, other_lines):
            lines[first] = f"[{label.lower()}]: {address}"


def _is_used(label: str, lines: Sequence[str]) -> bool:
    reference = f"[{label}]".casefold()
    return any(reference in " ".join(line.split()).casefold() for line in lines)


def _without_unused_footnotes(lines: Sequence[str]) -> Iterator[str]:
    """Drop footnotes without a reference, and all that is indented below them."""
    text = "\n".join(lines)
    dropping = False
    for line in lines:
        footnote = _FOOTNOTE.match(line)
        if footnote is not None:
            # The definition itself is the first occurrence.
            dropping = text.count(f"[^{footnote['label']}]") < 2
        elif line.strip() and not line.startswith((" ", "\t")):
            dropping = False
        if not dropping:
            yield line
