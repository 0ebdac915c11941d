"""Searches changed paths and their contents for the values of secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from runner.policy.change import GITLINK, Change
from runner.policy.redaction import Secrets

# names of objects, what to search the content of each for → the first name with a match
FirstMatch = Callable[
    [Sequence[str], Callable[[Iterator[bytes]], str | None]], tuple[str, str] | None
]


def first_secret(
    changes: Sequence[Change], secrets: Secrets, first_match: FirstMatch
) -> tuple[str, str] | None:
    """(path, secret's name) of the first new path or new file that holds a secret.

    `first_match` is that of an ObjectReader: files are read in pieces. Raises GitFailed
    if one of them cannot be read.
    """
    if not secrets:
        return None
    paths: dict[str, str] = {}
    for change in changes:
        if change.new is None:
            continue
        if name := secrets.find_in_text(change.path):
            return change.path, name
        mode, object_id = change.new
        # a submodule's commit is in another repository
        if mode != GITLINK:
            paths[object_id] = change.path
    match = first_match(list(paths), secrets.find)
    if match is None:
        return None
    object_id, name = match
    return paths[object_id], name
