"""Counts the lines that a change of a file adds and removes, where `git diff --numstat`
is sure to find the smallest numbers.

Git's diff is not always the smallest one: it passes over lines that are in the other
version very often, and gives up where too much differs. Such files are left to git.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

# Git takes a file with a NUL in its first bytes for one that is not text.
_TEXT_START = 8000
# Lines added and removed together; git gives up the smallest diff at more than 256.
_MAX_EDITS = 200


def line_counts(old: bytes, new: bytes) -> tuple[str, str] | None:
    """The numbers of added and of removed lines, both `-` for a file that is not text;
    None if git should be asked.
    """
    if b"\0" in old[:_TEXT_START] or b"\0" in new[:_TEXT_START]:
        return "-", "-"
    old_lines, new_lines = _lines(old), _lines(new)
    before, after = _without_common_ends(old_lines, new_lines)
    if before and after and set(before) & set(after):
        if _has_frequent(before, new_lines, len(old_lines)):
            return None
        if _has_frequent(after, old_lines, len(new_lines)):
            return None
        edits = _fewest_edits(before, after)
    else:
        edits = len(before) + len(after)
    if edits is None:
        return None
    # added + removed = edits; added - removed = what the file grew by
    grown = len(after) - len(before)
    return str((edits + grown) // 2), str((edits - grown) // 2)


def _lines(data: bytes) -> list[bytes]:
    """The lines with their ends: a last line without one differs from one that has it."""
    *lines, rest = data.split(b"\n")
    lines = [line + b"\n" for line in lines]
    return [*lines, rest] if rest else lines


def _without_common_ends(
    old: Sequence[bytes], new: Sequence[bytes]
) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Both without the lines that they begin with and end with alike."""
    shorter = min(len(old), len(new))
    start = 0
    while start < shorter and old[start] == new[start]:
        start += 1
    end = 0
    while end < shorter - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return old[start : len(old) - end], new[start : len(new) - end]


def _has_frequent(
    lines: Sequence[bytes], others: Sequence[bytes], number_of_lines: int
) -> bool:
    """Whether one of the lines is in the other version so often that git passes over it:
    about as often as the square root of the number of lines.
    """
    limit = 1
    while number_of_lines:
        limit, number_of_lines = limit * 2, number_of_lines >> 2
    frequencies = Counter(others)
    return any(frequencies[line] >= limit for line in set(lines))


def _fewest_edits(old: Sequence[bytes], new: Sequence[bytes]) -> int | None:
    """The fewest lines to remove and to add, None if they are more than _MAX_EDITS.

    Myers, "An O(ND) Difference Algorithm": `reach` is how far into `old` so many edits
    come on each diagonal, which is the position in `old` less that in `new`.
    """
    goal = len(old) - len(new)
    reach = {1: 0}
    for edits in range(_MAX_EDITS + 1):
        for diagonal in range(-edits, edits + 1, 2):
            removed = reach.get(diagonal - 1, -1) + 1
            added = reach.get(diagonal + 1, -1)
            position = max(removed, added)
            other = position - diagonal
            while (
                position < len(old) and other < len(new) and old[position] == new[other]
            ):
                position, other = position + 1, other + 1
            reach[diagonal] = position
            if diagonal == goal and position >= len(old):
                return edits
    return None
