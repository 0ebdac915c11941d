"""Searches changed paths and their contents for the values of secrets."""

from __future__ import annotations

from collections.abc import Sequence

from runner.policy.change import GITLINK, Change
from runner.policy.redaction import Secrets
from runner.repo.batch_process import ObjectReader


def first_secret(
    changes: Sequence[Change], secrets: Secrets, reader: ObjectReader
) -> tuple[str, str] | None:
    """(path, secret's name) of the first new path or new file that holds a secret.

    Files are read in pieces. Raises GitFailed if one of them cannot be read.
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
    match = reader.first_match(list(paths), secrets.find)
    if match is None:
        return None
    object_id, name = match
    return paths[object_id], name
