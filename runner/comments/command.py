"""Reads the command of a comment: its first line that begins with `/fanin`.

    /fanin retry T3 "Keep the old endpoint."
    /fanin retry T3 --from-review
    /fanin approve T7 T8

An id with spaces stands in single quotes, as in a shell: `'Set up the database'`.

A line counts where the page shows it as the author's own words: at the start of a line of
a plain paragraph, in no quote, list, table, code, HTML or link. A Markdown parser says
which lines these are, because anything less could be tricked. After the ids there may be
one text in quotation marks, up to the end of the line; what the page does not show of it
is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

from runner.core.errors import UsageProblem
from runner.core.result import MAX_PERSONS_MESSAGE
from runner.issues.rendered_text import rendered_text

NAME = "/fanin"
# GitHub takes comments of at most 65,536 characters; of a line, this is more than any
# command needs.
_MAX_LINE = MAX_PERSONS_MESSAGE + 4_000  # characters
_MAX_IDS = 100
_LINE = re.compile(r"/fanin(?=[ \t]|$)")
# From the first mark to the last, so that the text itself may have some. Keyboards of
# phones write the curly ones.
_TEXT = re.compile(r'(?:^|\s)["“”](?P<text>.*)["“”]\s*$')
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# An id in single quotes, as `shlex.quote` writes it, or a word.
_WORD = re.compile(r"(?<!\S)(?:['‘’](?P<quoted>[^'‘’]+)['‘’]|(?P<plain>\S+))(?!\S)")
# Markup that a later line closes: the page shows nothing from here on.
_UNCLOSED = re.compile(r"<(?:!|\?).*", re.DOTALL)
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]*)")
_MARKUP_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_WITHOUT_END = frozenset({"area", "br", "hr", "img", "input", "source", "wbr"})
_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_MARKS = '“”"'


@dataclass(frozen=True)
class Grammar:
    """What may follow a command's name: its usage, its options, and whether a text."""

    usage: str
    options: frozenset[str] = frozenset()
    takes_text: bool = False
    needs_text: bool = False
    most_ids: int = _MAX_IDS


COMMANDS = {
    "retry": Grammar(
        'retry ID… ["text"] [--from-review] [--redo]',
        frozenset({"--from-review", "--redo", "--message"}),
        takes_text=True,
    ),
    "reply": Grammar('reply ID "text"', takes_text=True, needs_text=True, most_ids=1),
    "approve": Grammar("approve ID…"),
    "hold": Grammar("hold ID…"),
    "undo": Grammar("undo ID… [--with-dependents]", frozenset({"--with-dependents"})),
    "accept": Grammar(
        "accept ID COMMIT [--unverified]", frozenset({"--unverified"}), most_ids=1
    ),
}


@dataclass(frozen=True)
class Command:
    """A command: its name, ids, options and text ("" if none).

    `commit` is the full id that `accept` names. `ignored`: how many further lines of the
    comment begin with `/fanin`.
    """

    name: str
    ids: tuple[str, ...]
    options: frozenset[str] = frozenset()
    text: str = ""
    commit: str = ""
    ignored: int = 0


def find_command(body: str) -> Command | None:
    """The command of a comment; None if it has none.

    Raises UsageProblem, with how it is written, if the line is no command.
    """
    lines = command_lines(body)
    if not lines:
        return None
    return _parse(_shown(lines[0]), ignored=len(lines) - 1)


def command_lines(body: str) -> list[str]:
    """The lines of a comment that begin with `/fanin`, as the author wrote them."""
    lines = body.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not any(_LINE.match(line) for line in lines):
        return []  # most comments
    return list(_own_lines(lines))


def _own_lines(lines: Sequence[str]) -> Iterator[str]:
    """The lines that the page shows as the beginning of a line of a plain paragraph."""
    open_tags = 0
    is_paragraph = False
    for token in _MARKDOWN.parse("\n".join(lines), {}):
        if is_paragraph and token.map is not None:
            source = lines[token.map[0] : token.map[1]]
            for number in _starting_lines(source, open_tags):
                yield source[number]
        # A tag in a quote or a list ends with that.
        if token.level == (1 if token.type == "inline" else 0):
            open_tags = _tags_after(token, open_tags)
        is_paragraph = token.type == "paragraph_open" and token.level == 0


def _starting_lines(source: Sequence[str], open_tags: int) -> Iterator[int]:
    """The numbers of the lines of a paragraph that begin with `/fanin` and are text from
    their start, in no span over lines.

    Another word in its place is looked for in what the parser makes of the paragraph.
    """
    word = f"/{_word_not_in(''.join(source))}"
    replaced = [
        f"{word}{number}{line[len(NAME) :]}" if _LINE.match(line) else line
        for number, line in enumerate(source)
    ]
    if replaced == [*source]:
        return
    [inline] = _MARKDOWN.parseInline("\n".join(replaced), {})
    depth = 0
    is_start = True
    for child in inline.children or ():
        depth += child.nesting
        is_own = is_start and depth == open_tags == 0
        if child.type == "text" and child.content.startswith(word) and is_own:
            yield int(child.content.removeprefix(word).split(maxsplit=1)[0])
        is_start = child.type in {"softbreak", "hardbreak"}
        open_tags = _tags_after(child, open_tags)


def _tags_after(token: Token, open_tags: int) -> int:
    """How many tags of HTML are open after the token, of `open_tags` before it.

    Text in them may be a quote, or folded away.
    """
    for child in token.children or ():
        open_tags = _tags_after(child, open_tags)
    if token.type not in {"html_block", "html_inline"}:
        return open_tags
    for slash, name in _TAG.findall(_MARKUP_COMMENT.sub("", token.content)):
        if slash:
            open_tags = max(0, open_tags - 1)
        elif name.lower() not in _WITHOUT_END:
            open_tags += 1
    return open_tags


def _word_not_in(text: str) -> str:
    """Letters that are nowhere in the text."""
    longest = max(map(len, re.findall("x+", text)), default=0)
    return "x" * (longest + 1)


def _shown(line: str) -> str:
    """The line without what the page does not show."""
    if len(line) > _MAX_LINE:
        raise _not_a_command(f"the line has {len(line):,} characters")
    return _UNCLOSED.sub("", rendered_text(line)).replace("\n", " ")


def _parse(line: str, ignored: int) -> Command:
    rest = line.removeprefix(NAME)
    text = ""
    if quoted := _TEXT.search(rest):
        text = quoted["text"].strip()
        rest = rest[: quoted.start()]
    elif any(mark in rest for mark in _MARKS):
        raise _not_a_command("a text is the last of the line, in quotation marks")
    name, *words = _words(rest) or [""]
    grammar = COMMANDS.get(name)
    if grammar is None:
        raise _not_a_command(f"{name} is no command here" if name else "no command")
    # As on a command line: what follows `--` is no option.
    before, after = _split_at_dashes(words)
    ids = [*(word for word in before if not word.startswith("--")), *after]
    options = frozenset(word for word in before if word.startswith("--"))
    commit = ids.pop() if name == "accept" and len(ids) > 1 else ""
    _check(grammar, ids, options, text, quoted is not None)
    if name == "accept" and not _COMMIT.fullmatch(commit):
        raise _not_a_command("the full id of the kept commit is missing", grammar)
    return Command(
        name, tuple(ids), options - {"--message"}, text, commit, ignored=ignored
    )


def _split_at_dashes(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The words before the first `--` and those after it."""
    if "--" not in words:
        return words, ()
    index = words.index("--")
    return words[:index], words[index + 1 :]


def _words(line: str) -> list[str]:
    """The words of the line; one in single quotes may have spaces."""
    return [word["quoted"] or word["plain"] for word in _WORD.finditer(line)]


def _check(
    grammar: Grammar,
    ids: Sequence[str],
    options: frozenset[str],
    text: str,
    has_text: bool,
) -> None:
    """Raises UsageProblem for what the command does not take."""
    if unknown := sorted(options - grammar.options):
        raise _not_a_command(f"unknown option {unknown[0]}", grammar)
    if not 0 < len(ids) <= grammar.most_ids:
        count = "no task is named" if not ids else f"{len(ids)} ids"
        raise _not_a_command(count, grammar)
    if has_text and not grammar.takes_text:
        raise _not_a_command("it takes no text", grammar)
    if (has_text or grammar.needs_text or "--message" in options) and not text:
        raise _not_a_command("the text is empty", grammar)
    if "--from-review" in options and len(ids) > 1:
        raise _not_a_command("a review is told to one task at a time", grammar)
    if len(text) > MAX_PERSONS_MESSAGE:
        problem = f"the text has {len(text):,} of {MAX_PERSONS_MESSAGE:,} characters"
        raise _not_a_command(problem, grammar)


def _not_a_command(problem: str, grammar: Grammar | None = None) -> UsageProblem:
    known = [grammar] if grammar else COMMANDS.values()
    usage = ", ".join(f"{NAME} {each.usage}" for each in known)
    return UsageProblem(problem, f"write  {usage}")
