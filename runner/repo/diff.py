"""Compares trees: the commands of git that do, and what they print."""

from __future__ import annotations

import os
from collections.abc import Sequence

from runner.core.patterns import lazy_pattern
from runner.policy.change import Change

# No renames: a pair of paths costs a comparison of contents, and policy judges paths.
RAW = ("diff-tree", "-r", "-z", "--no-renames", "--raw", "--no-abbrev")
# the index against a tree, printed as RAW does
INDEX = ("diff-index", "--cached", "-z", "--no-renames", "--raw", "--no-abbrev")
NUMSTAT = ("diff-tree", "--stdin", "-r", "-z", "--numstat", "--no-renames")
NAMES = ("diff-tree", "-r", "-z", "--no-renames", "--name-only")
# with --stdin, the line before a pair's changes
_PAIR = lazy_pattern(rb"[0-9a-f]{40,64} [0-9a-f]{40,64}\n")
_ABSENT = "000000"


def pairs(old: str, trees: Sequence[str]) -> bytes:
    """Standard input for `--stdin`: `old` against each of the trees."""
    return "".join(f"{old} {tree}\n" for tree in trees).encode()


def parse_raw(output: bytes) -> list[Change]:
    """The changes of one pair of trees, from the output of `RAW`."""
    return parse_raw_pairs(b"\n" + output)[0]


def parse_raw_pairs(output: bytes) -> list[list[Change]]:
    """The changes of each pair of trees, from the output of `RAW --stdin`."""
    fields = output.split(b"\0")
    results: list[list[Change]] = []
    # The fields alternate: a change's modes and ids, then its path. Where the next pairs
    # of trees begin, a line for each of them precedes the modes and ids.
    for index in range(0, len(fields), 2):
        *new_pairs, meta = fields[index].split(b"\n")
        results.extend([] for _ in new_pairs)
        if meta:
            path = os.fsdecode(fields[index + 1])
            results[-1].append(_change(meta.decode(), path))
    return results


def _change(meta: str, path: str) -> Change:
    old_mode, new_mode, old_id, new_id, _ = meta.removeprefix(":").split()
    old = None if old_mode == _ABSENT else (old_mode, old_id)
    new = None if new_mode == _ABSENT else (new_mode, new_id)
    return Change(path, old, new)


def parse_numstat_pairs(output: bytes) -> list[list[str]]:
    """For each pair of trees lines such as `src/a.py +3 -1`, from `NUMSTAT`.

    A file that is not text has `-` for a number.
    """
    results: list[list[str]] = []
    for entry in output.split(b"\0"):
        while pair := _PAIR().match(entry):
            results.append([])
            entry = entry[pair.end() :]
        if entry:
            added, removed, path = os.fsdecode(entry).split("\t", 2)
            results[-1].append(f"{path} +{added} -{removed}")
    return results


def parse_names(output: bytes) -> list[str]:
    """Paths that each end with NUL."""
    return [os.fsdecode(path) for path in output.split(b"\0") if path]
