"""Backlog.md's configuration: the statuses, what each means, and the prefix of the files."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeGuard

from runner.core import yaml_document
from runner.core.errors import InvalidInput
from runner.core.task import Status
from runner.plan.formats.base import Tree
from runner.plan.formats.diagnostics import (
    COMPLETED,
    IN_PROGRESS,
    PENDING,
    REVIEW_WORDS,
    SKIPPED,
    Diagnostics,
    StatusWord,
    normalize,
)

DEFAULT_PREFIX = "task"
DEFAULT_STATUSES = ("To Do", "In Progress", "Done")  # the last one means completed
# Outranks the folder's own configuration since March 2026 (MrLesk/Backlog.md#563).
ROOT_CONFIG = "backlog.config.yml"
# Words that real files use although no configuration lists them. They outrank a
# configuration that does.
STATUS_WORDS: Mapping[str, StatusWord] = {
    **dict.fromkeys(
        [
            "to-do",
            "todo",
            "open",
            "backlog",
            "pending",
            "ready",
            "not-started",
            "draft",
        ],
        PENDING,
    ),
    **dict.fromkeys(
        ["in-progress", "inprogress", "doing", "started", "wip"], IN_PROGRESS
    ),
    **dict.fromkeys(["done", "completed", "complete", "closed", "finished"], COMPLETED),
    **dict.fromkeys(
        [
            "skipped",
            "won't-do",
            "wont-do",
            "won't-fix",
            "wontfix",
            "cancelled",
            "canceled",
            "deferred",
            "blocked",
            "on-hold",
            "abandoned",
            "rejected",
            "duplicate",
            "archived",
        ],
        SKIPPED,
    ),
    **REVIEW_WORDS,
}

_PREFIX = re.compile(r"[A-Za-z][\w-]*")


class Config(NamedTuple):
    """The configuration: the statuses in order, and the prefix of the files."""

    statuses: Sequence[str]
    prefix: str


def read_config(path: str, tree: Tree, diagnostics: Diagnostics) -> Config:
    """The configured statuses and prefix.

    They are in the repository's `backlog.config.yml` if it is about this folder, else
    in the folder's own configuration.
    """
    statuses: Sequence[str] | None = None
    prefix: str | None = None
    for file in (ROOT_CONFIG, f"{path}/config.yml", f"{path}/config.yaml"):
        text = tree.read(file)
        if text is None:
            continue
        try:
            data = yaml_document.load(file, text).data
        except InvalidInput as error:
            # Another file's statuses must not stand in for those that cannot be read.
            diagnostics.problems += error.problems
            break
        if not isinstance(data, dict):
            continue
        if file == ROOT_CONFIG and not _applies_to_folder(data, path):
            continue
        statuses = statuses or _configured_statuses(data, file, diagnostics)
        prefix = prefix or _configured_prefix(data)
    return Config(statuses or DEFAULT_STATUSES, prefix or DEFAULT_PREFIX)


def _configured_statuses(
    config: Mapping[str, object], file: str, diagnostics: Diagnostics
) -> Sequence[str] | None:
    statuses = config.get("statuses")
    if _is_list_of_words(statuses):
        return statuses
    if statuses is not None:
        what = "statuses is not a list of words"
        remedy = f"write  statuses: {list(DEFAULT_STATUSES)}"
        diagnostics.add_problem(0, what, remedy, file)
    return None


def _configured_prefix(config: Mapping[str, object]) -> str | None:
    """The prefix as file names have it, which is in lower case."""
    prefix = config.get("task_prefix")
    if isinstance(prefix, str) and _PREFIX.fullmatch(prefix.strip()):
        return prefix.strip().lower()
    return None


def _is_list_of_words(value: object) -> TypeGuard[list[str]]:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(word, str) and word.strip() for word in value)


def _applies_to_folder(config: Mapping[str, object], path: str) -> bool:
    """Whether the configuration at the repository's root is for the folder `path`."""
    folder = config.get("backlog_directory")
    if isinstance(folder, str) and folder:
        return posixpath.normpath(folder) == path
    return path in ("backlog", ".backlog")


def status_words(statuses: Sequence[str]) -> dict[str, StatusWord]:
    """The meaning of each status word: the first status is open, the last completed.

    Behind the last one may stand columns of what is not wanted. Work that is done but
    not in the last column waits for a person, as for Backlog.md it is not finished.
    """
    words = [normalize(status) for status in statuses]
    wanted = [word for word in words if not STATUS_WORDS.get(word, PENDING).skipped]
    last_word = (wanted or words)[-1]
    meanings = dict.fromkeys(words, IN_PROGRESS)
    meanings[words[0]] = PENDING
    meanings |= STATUS_WORDS
    for word in words:
        if meanings[word].status is Status.COMPLETED:
            meanings[word] = SKIPPED
    meanings[last_word] = COMPLETED
    return meanings


def done_word(statuses: Sequence[str], words: Mapping[str, StatusWord]) -> str:
    """The last configured status that means completed, else the last one."""
    for status in reversed(statuses):
        if words[normalize(status)].status is Status.COMPLETED:
            return status
    return statuses[-1]
