"""Which ignored files of a person's work tree a checkout gets: the patterns of the setting
`include` and of the file `.worktreeinclude`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.core.errors import Problem
from runner.policy.gitignore import Pattern, PatternList
from runner.policy.globs import invalid, too_many
from runner.policy.paths import refused_by_git, shortened

FILE = ".worktreeinclude"

# Of fanin itself; git's own folder may be in any folder.
_OWN_FOLDER = ".fanin"
_WILDCARDS = frozenset("*?[\\!")
_ANY_FILE = "\0"  # no pattern names it


def problem(pattern: str) -> str | None:
    """Return why a checkout cannot get what the pattern names, None if it can."""
    if ".." in pattern.removeprefix("!").split("/"):
        return "it leads out of the repository"
    if reason := invalid(pattern):
        return f"it is not a valid gitignore pattern: {reason}"
    if pattern.startswith("!"):
        return None
    names = [name for name in Pattern(pattern).names if name != "**"]
    for name in names:
        if refused_by_git(name):
            return "no checkout gets files of a .git folder"
    if names and names[0].casefold() == _OWN_FOLDER:
        return f"no checkout gets files of {_OWN_FOLDER}"
    return None


def read_file(text: str) -> tuple[list[str], list[Problem]]:
    """The patterns of a `.worktreeinclude`, and what is wrong with it.

    As in a `.gitignore`, empty lines and lines that begin with `#` say nothing.
    """
    patterns, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        pattern = line if line.endswith("\\ ") else line.rstrip()
        if not pattern or pattern.startswith("#"):
            continue
        patterns.append(pattern)
        if reason := problem(pattern):
            what = f"{shortened(pattern)!r} cannot be included: {reason}"
            problems.append(Problem(FILE, number, what, "change or remove the line"))
    if reason := too_many(patterns):
        remedy = "name folders instead of their files"
        problems.append(Problem(FILE, None, reason, remedy))
    return patterns, problems


class IncludeRules:
    """The patterns of one base, compiled."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._all = PatternList(patterns)
        self._has_exceptions = any(pattern.startswith("!") for pattern in patterns)
        self._full_names = PatternList(_full_names(patterns))
        self.may_name_secrets = any(map(_names_a_secret, patterns))

    def includes(self, path: str) -> bool:
        """Whether the patterns match the file `path`."""
        return self._all.matches(path)

    def includes_all_below(self, folder: str) -> bool:
        """Whether the patterns match every file below the folder, so that none of them
        need be asked for.
        """
        if self._has_exceptions:
            return False
        return self._all.matches(f"{folder}/{_ANY_FILE}")

    def names(self, path: str) -> bool:
        """Whether a pattern names the file itself, without a wildcard."""
        return self.includes(path) and self._full_names.matches(path)


def _full_names(patterns: Iterable[str]) -> list[str]:
    """The patterns that name one file each, and a pattern for each that takes out again
    what is below a folder of that name.
    """
    full = []
    for pattern in patterns:
        if not _WILDCARDS & set(pattern) and not pattern.endswith("/"):
            # `config` names a file of that name, and no file below a folder
            full += [pattern, f"!{pattern}/"]
    return full


def _names_a_secret(pattern: str) -> bool:
    # Late: most repositories have no such pattern.
    from runner.policy.secret_files import is_secret_name, is_secret_path

    if _WILDCARDS & set(pattern):
        return False
    path = pattern.strip("/")
    return is_secret_name(path.rpartition("/")[2]) or is_secret_path(path)
