"""Text of any origin as Markdown for GitHub's pages.

A plan, an agent and a log may be hostile. Mentions and references are spelt as in commit
messages (`core.message_text`). GitHub looks for addresses and emoji in the text of the
rendered page, so escaping a character does not stop them: an invisible space does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from runner.core import message_text

# Ends a mention, reference, address or emoji that GitHub would make of the text.
_BREAK = "&#8203;"
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SYNTAX = re.compile(r"([\\`*_{}\[\]()!|~])")
# A mention or address; a reference to an issue; an address without a scheme; emoji,
# whose name may hold an underscore that is escaped by now.
_ACTIVE = re.compile(
    r"@|#|://|(?<![a-z0-9])(?:www\.|mailto:|xmpp:|gh-)|:(?=[\w+\\-]+:)", re.IGNORECASE
)
# Lists, rules and headings.
_LINE_START = re.compile(r"^(?:[-+=]|\d{1,9}[.)])")
_ADDRESS = re.compile(r"https?://[\w./:%?=&~-]+")
_MAX_SENTENCE = 2_000  # characters
_ANSI = re.compile(r"(?:\x1b|\ufffd)\[[0-?]*[ -/]*[@-~]")


def cell(text: str) -> str:
    """One line of Markdown that shows the text: no markup, mention, link or image."""
    line = _html(_line(text))
    line = _SYNTAX.sub(r"\\\1", line)
    # `$` starts a formula.
    line = _ACTIVE.sub(_broken, line).replace("$", "&#36;")
    return _LINE_START.sub(_escaped_start, line)


def paragraph(text: str, limit: int) -> str:
    """The text's lines as one line of Markdown, at most `limit` characters of them."""
    return line_breaks(map(cell, shortened(text, limit).splitlines()))


def html(text: str) -> str:
    """One line for inside an HTML tag, where Markdown's own syntax is not read."""
    line = _html(_line(text))
    return _ACTIVE.sub(_broken, line).replace("$", "&#36;")


def code(text: str) -> str:
    """The text for a span between backticks."""
    return _printable(text).replace("`", "'").replace("\n", " ")


def block(text: str) -> str:
    """A code block that nothing in the text can end."""
    text = _printable(text)
    backticks = re.findall(r"`+", text)
    longest = max(map(len, backticks), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def folded(title: str, body: str) -> str:
    """A section that opens with a click; `title` is HTML, `body` Markdown."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown without the columns that are empty in every row."""
    used = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    lines = [
        _table_row([columns[index] for index in used]),
        _table_row(["---"] * len(used)),
    ]
    lines += [_table_row([row[index] for index in used]) for row in rows]
    return "\n".join(lines)


def _table_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def with_links(sentence: str, repository_url: str) -> str:
    """A sentence of fanin, with a link for each address of a page of the repository."""
    words = []
    for word in shortened(sentence, _MAX_SENTENCE).split():
        is_page = word.startswith(f"{repository_url}/") and _ADDRESS.fullmatch(word)
        words.append(f"<{word}>" if is_page else cell(word))
    return " ".join(words)


def line_breaks(lines: Iterable[str]) -> str:
    """Lines of one paragraph, without the empty ones."""
    return "<br>".join(filter(None, lines))


def paragraphs(parts: Iterable[str]) -> str:
    """Paragraphs, without the empty ones."""
    return "\n\n".join(filter(None, parts)) + "\n"


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters of the text; an ellipsis says that it goes on."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _printable(text: str) -> str:
    """The text without colours of a terminal, control and invisible characters."""
    return message_text.visible(_ANSI.sub("", text))


def _line(text: str) -> str:
    """The text on one line, without colours and without what GitHub acts on."""
    return message_text.one_line(_ANSI.sub("", text))


def _html(line: str) -> str:
    for character, entity in _HTML.items():
        line = line.replace(character, entity)
    return line


def _broken(match: re.Match[str]) -> str:
    """The match with a break in it: before the sign that a word ends with, else after."""
    sign = match.group()
    if sign[0].isalpha():
        return sign[:-1] + _BREAK + sign[-1]
    return sign[0] + _BREAK + sign[1:]


def _escaped_start(match: re.Match[str]) -> str:
    sign = match.group()
    return f"{sign[:-1]}\\{sign[-1]}"
