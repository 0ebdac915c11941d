"""Resets a checkout after an agent, so that the next task finds it as set-up left it.

Files of the base get the content that they have in the next base, with a git directory
made anew. What set-up brought stays where it is, if its stamps show that nothing has
touched it; anything else that is there is removed. A checkout that cannot be reset so
is given up, and the next task gets a new one.
"""

from __future__ import annotations

import itertools
import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.attempt import file_stamps, setup_inputs, workspace
from runner.attempt.file_stamps import TOP, Differences, Stamp
from runner.attempt.workspace import Workspace
from runner.core.errors import GitFailed
from runner.core.folders import remove_folder
from runner.policy.change import GITLINK
from runner.repo import diff
from runner.repo.command import Git


@dataclass(frozen=True)
class ReadyCheckout:
    """A checkout as set-up left it: the stamp of the workspace's folder, and by path
    those of everything in the checkout.
    """

    workspace: Workspace
    place: Stamp
    stamps: Mapping[str, Stamp]

    @property
    def folder(self) -> Path:
        return self.workspace.folder


def record(space: Workspace) -> ReadyCheckout | None:
    """Record a checkout after set-up, before the agent starts; None if it could not be
    reset later.
    """
    changed_gitlink = any(
        GITLINK in _modes(change.old, change.new) for change in space.prepared
    )
    # What is below a repository of its own is not compared file by file.
    if space.submodules or changed_gitlink:
        return None
    try:
        place = file_stamps.stamp(space.folder.lstat())
        stamps = file_stamps.stamps_of(space.checkout)
    except OSError:
        return None
    if not file_stamps.wait_for_later_time(space.folder, stamps.values()):
        return None
    return ReadyCheckout(space, place, stamps)


def _modes(*entries: tuple[str, str] | None) -> list[str]:
    return [entry[0] for entry in entries if entry is not None]


def reset(
    ready: ReadyCheckout, base: str, branch: str, script: str
) -> ReadyCheckout | None:
    """Reset the checkout to commit `base`; None if it must be made anew.

    To be called when all that the agent started has ended. `script` is set-up's text.
    Raises GitFailed or OSError where the disk or git fails; then too it must be made
    anew.
    """
    space = ready.workspace
    if file_stamps.stamp(space.folder.lstat()) != ready.place:
        return None
    _remove_beside(space)
    differs = file_stamps.differences(space.checkout, ready.stamps)
    git = workspace.renew_git_directory(space, base, branch)
    files = _Files.of(space, git, base, ready.stamps)
    if files.made_anew_for(script) or not files.can_remove(differs):
        return None
    _remove(space.checkout, differs.present)
    aside = _put_aside(space)
    workspace.reset_entries(git, space, space.prepared)
    space = workspace.reset_files(space, base)
    _put_back(space, aside)
    stamps = _stamps_after(ready, space, files, differs)
    if stamps is None:
        return None
    return replace(ready, workspace=replace(space, is_ready=True), stamps=stamps)


@dataclass(frozen=True)
class _Files:
    """Which files are git's and which are set-up's.

    `tracked` and `next_tracked` are the files that git restores, in the base so far and
    in the next one; those that set-up changed are not among them. `changed` are the
    paths that differ between the two, `prepared` those that set-up changed, `brought`
    everything that set-up left and git does not know, folders included.
    """

    tracked: frozenset[str]
    next_tracked: frozenset[str]
    changed: Sequence[str]
    prepared: frozenset[str]
    brought: frozenset[str]

    @classmethod
    def of(
        cls, space: Workspace, git: Git, base: str, stamps: Mapping[str, Stamp]
    ) -> _Files:
        prepared = frozenset(change.path for change in space.prepared)
        tracked = next_tracked = _paths_in(git, space.base) - prepared
        changed: list[str] = []
        if base != space.base:
            next_tracked = _paths_in(git, base) - prepared
            changed = diff.parse_names(git.run([*diff.NAMES, space.base, base]))
        brought = stamps.keys() - tracked - folders_of(tracked) - {TOP}
        return cls(
            tracked, next_tracked, changed, prepared, frozenset(brought | prepared)
        )

    def made_anew_for(self, script: str) -> bool:
        """Whether the next base asks for another set-up, or has files in the place of
        what set-up brought.
        """
        if setup_inputs.first_input(self.changed, script) is not None:
            return True
        for path in self.changed:
            if path in self.brought or not self.brought.isdisjoint(_parents(path)):
                return True
        gone = folders_of(self.tracked) - folders_of(self.next_tracked)
        if not gone:
            return False
        return any(posixpath.dirname(path) in gone for path in self.brought)

    def can_remove(self, differs: Differences) -> bool:
        """Whether all that differs is a file that git restores, or nobody's."""
        paths = itertools.chain(differs.present, differs.missing)
        return not any(path == TOP or path in self.brought for path in paths)


def _paths_in(git: Git, commit: str) -> frozenset[str]:
    argv = ["ls-tree", "-r", "-z", "--name-only", commit]
    return frozenset(diff.parse_names(git.run(argv)))


def folders_of(paths: Iterable[str]) -> frozenset[str]:
    """All folders above these paths, without the top one."""
    folders: set[str] = set()
    for path in paths:
        parent = posixpath.dirname(path)
        while parent and parent not in folders:
            folders.add(parent)
            parent = posixpath.dirname(parent)
    return frozenset(folders)


def _parents(path: str) -> list[str]:
    return [str(parent) for parent in Path(path).parents][:-1]


def _remove_beside(space: Workspace) -> None:
    """Remove what the agent and fanin left beside the checkout and its index."""
    kept = {space.checkout.name, space.index.name}
    for name in os.listdir(space.folder):  # noqa: PTH208
        if name not in kept:
            _remove(space.folder, [name])


def _remove(folder: Path, paths: Iterable[str]) -> None:
    """Remove these files and folders. Raises GitFailed if one stays."""
    for path in paths:
        place = folder / path
        if place.is_dir() and not place.is_symlink():
            remove_folder(place)
        else:
            place.unlink(missing_ok=True)
        if os.path.lexists(place):
            raise GitFailed(["clean"], 1, f"{place} cannot be removed")


def _put_aside(space: Workspace) -> dict[str, Path]:
    """Move the base's files that set-up changed out of git's way; path → where."""
    aside = {}
    for number, change in enumerate(space.prepared):
        if change.old is not None and change.new is not None:
            aside[change.path] = space.folder / f"aside-{number}"
            (space.checkout / change.path).rename(aside[change.path])
    return aside


def _put_back(space: Workspace, aside: Mapping[str, Path]) -> None:
    """Give the base's files that set-up changed or deleted the state that it left."""
    for path, place in aside.items():
        place.rename(space.checkout / path)
    for change in space.prepared:
        if change.new is None:
            workspace.remove_file(space.checkout, change.path)


def _stamps_after(
    ready: ReadyCheckout, space: Workspace, files: _Files, differs: Differences
) -> dict[str, Stamp] | None:
    """The stamps of the reset checkout; None if time does not tell a later change."""
    written = {*differs.present, *differs.missing, *files.changed, *files.prepared}
    stamps = {TOP: ready.stamps[TOP]}
    anew = [*folders_of(files.next_tracked), *files.prepared]
    for path in itertools.chain(files.brought - files.prepared, files.next_tracked):
        known = ready.stamps.get(path)
        if known is None or path in written:
            anew.append(path)
        else:
            stamps[path] = known
    new_stamps = file_stamps.stamps_at(space.checkout, anew)
    if not file_stamps.wait_for_later_time(space.folder, new_stamps.values()):
        return None
    return stamps | new_stamps
