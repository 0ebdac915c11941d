"""Text of any origin for commit messages, pages and annotations of GitHub, without what
GitHub acts on.

`[skip ci]` switches off workflows, `closes #3` closes an issue, `@name` calls somebody.
Each is spelt so that people read the same and GitHub reads nothing: `(skip ci)`,
`closes no. 3`, `name`. No character is invisible. Sources: GitHub's documents "Skipping
workflow runs", "Linking a pull request to an issue", "Autolinked references".
"""

from __future__ import annotations

import re

from runner.core.documents import clean
from runner.core.patterns import lazy_pattern

# Joiners, marks of direction, fillers, tags, selectors of variants: they hide text from
# people. What Unicode calls "default ignorable" (DerivedCoreProperties.txt) but U+FE0F,
# which emoji have; and the blank of Braille.
_INVISIBLE = lazy_pattern(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# GitHub takes letters of ASCII alone for the word before the sign.
# Packages that fanin itself advises to install: without the sign the command is wrong.
_PACKAGES = "anthropic-ai/claude-code|github/copilot|google/gemini-cli|openai/codex"
_MENTION = lazy_pattern(
    rf"(?<![A-Za-z0-9_])@+(?=[A-Za-z0-9])(?!(?:{_PACKAGES})(?![\w-]))"
)
_REFERENCE = lazy_pattern(r"#(?=[0-9]+\b)", re.ASCII)
_SHORT_REFERENCE = lazy_pattern(r"(?<![A-Za-z0-9])gh-(?=[0-9])", re.IGNORECASE)
_PAGE = lazy_pattern(r"/(issue|pull|discussion)s?/(?=[0-9])", re.IGNORECASE)
_BRACKETS = lazy_pattern(r"\[([^\[\]\n]{1,60})\]")
# GitHub's five spellings, and those of other services that read the same messages.
_SKIP = lazy_pattern(r"skip|\bno[ _-]?ci\b|\bci\b", re.IGNORECASE)
_NO_CI = lazy_pattern(r"\*{3}(no_ci)\*{3}", re.IGNORECASE)
_SKIP_CHECKS = lazy_pattern(r"(skip-checks)\s*:\s*(?=true)", re.IGNORECASE)
# Of ECMA-48: control sequences, strings that end with BEL or ST, and the short ones.
_SEQUENCE = lazy_pattern(
    "\x1b\\[[0-?]*[ -/]*[@-~]"
    "|\x1b[\\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\\\)"
    "|\x1b[ -/]*[0-Z\\\\^-~]"
)
_LONGEST_ADDRESS = 300  # characters before the page's name


def one_line(text: str) -> str:
    """The text on one line."""
    return _without_commands(" ".join(visible(text).split()))


def several_lines(text: str) -> str:
    """The text with its lines."""
    return "\n".join(map(_without_commands, visible(text).split("\n")))


def visible(text: str) -> str:
    """The text without control characters and without invisible ones."""
    return _INVISIBLE().sub("", clean(text))


def without_sequences(text: str) -> str:
    """The text without the escape sequences that act on a terminal.

    What is no whole sequence stays, with its control character.
    """
    return _SEQUENCE().sub("", text)


def _without_commands(line: str) -> str:
    while True:
        changed = _without_some(line)
        # What is left of one command may be another: `[@skip ci]`.
        if changed == line:
            return line
        line = changed


def _without_some(line: str) -> str:
    line = _MENTION().sub("", line)
    line = _REFERENCE().sub(_numbered, line)
    line = _SHORT_REFERENCE().sub("no. ", line)
    line = _PAGE().sub(_page_in_words, line)
    line = _BRACKETS().sub(_in_parentheses, line)
    line = _NO_CI().sub(r"(\1)", line)
    return _SKIP_CHECKS().sub(r"\1 ", line)


def _numbered(match: re.Match[str]) -> str:
    """`no. ` instead of `#`, with a space after a word, as in `owner/name#3`."""
    before = match.string[: match.start()][-1:]
    return " no. " if before.isalnum() or before in {"_", "-", "."} else "no. "


def _page_in_words(match: re.Match[str]) -> str:
    """The number of an issue's address in words; a path of files stays as it is."""
    start = max(0, match.start() - _LONGEST_ADDRESS)
    before = match.string[start : match.start()]
    # host, owner, repository
    steps = before.rpartition(" ")[2].split("/")
    is_page = len(steps) >= 3 and ("." in steps[-3] or "://" in before)
    return f" {match[1].lower()} no. " if is_page else match[0]


def _in_parentheses(match: re.Match[str]) -> str:
    return f"({match[1]})" if _SKIP().search(match[1]) else match[0]
