"""Captures what an agent, or set-up, left in a checkout as a git tree.

Where git would store the changed files as they are, their tree is made without git. Else
they are added to an index outside the checkout.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

from runner.attempt import plain_changes, sizes, trusted_times
from runner.attempt.capture_directory import capture_git, reset_entries
from runner.attempt.captured_tree import (
    NewObjects,
    base_tree,
    changes_in,
    store_objects,
)
from runner.attempt.left_out import (
    LeftOut,
    add_all,
    add_changed,
    add_forced,
    adds_nothing_forced,
    changed_since,
    explain,
    gitlinks,
    listing_paths_to_add,
    made_by_setup,
    may_have_gitlinks,
    nested_repository,
    not_ignored,
    plain_paths_to_add,
)
from runner.attempt.plain_changes import MadeTree
from runner.attempt.workspace import (
    IndexRecord,
    Submodule,
    Workspace,
    digest_of,
    index_data,
    new_capture,
    read_regular,
)
from runner.core.errors import GitFailed, GitStopped
from runner.core.folders import remove_folder
from runner.policy.change import GITLINK, Change
from runner.repo import diff, index_trees, loose_objects
from runner.repo.command import Git, isolated_git
from runner.repo.objects import object_id_of, write_loose

# Bytes of the files in a submodule that its commit does not have. It is not recorded
# which of them set-up made, so the limit of a result is too small for them.
_MAX_SUBMODULE_BYTES = 2**30
# Bytes of the files that set-up made or changed. It may make more than a result has, but
# git would read a sparse file of a terabyte for hours.
_MAX_PREPARED_BYTES = 2**32
# Bytes of the new files of a result that is packed here. Git makes deltas of more.
_MAX_SMALL_PACK = 2**18
# Bytes, of about three thousand files: two more processes of git cost as much as
# measuring these.
_MAX_MEASURED_INDEX = 2**18
_NO_TREES: Mapping[str, bytes] = {}


class Capture(NamedTuple):
    """What was captured: the tree, None if it is the base's, and what it lacks.

    `new_objects` are the objects of the tree that the base lacks; None if that is not
    known.
    """

    tree: str | None
    left_out: tuple[LeftOut, ...] = ()
    new_objects: NewObjects | None = None


def capture(workspace: Workspace, *, is_read: bool = True) -> Capture:
    """The tree that the agent left, without ignored files. Its new objects are in
    `workspace.objects` for git; some of `new_objects` may be in memory alone if no git
    of the workspace reads the tree.

    To be called when the agent and all its processes have ended. What git cannot take
    is left out and named: a path that it refuses, a repository that the agent made,
    files below a submodule, files that are too large. Raises GitFailed if the checkout
    is gone or git cannot work there at all, GitStopped at one of the workspace's limits.
    """
    git = capture_git(workspace)
    seen = _look_at_files(workspace, git)
    if seen.trap is not None:
        reason = "was not captured because of it"
        return Capture(None, (seen.trap, LeftOut(".", reason)))
    made = _make_plain_tree(workspace, git, seen)
    if made is not None:
        if is_read and made.new_objects is not None:
            store_objects(workspace, made.new_objects)
        return Capture(made.tree, (), made.new_objects)
    added = _add(workspace, git, seen)
    left_out = added.left_out
    if not added.is_changed:
        left_out += _below_submodules(workspace, added.gitlinks)
        return Capture(None, _new(workspace, left_out))
    nested, as_prepared, remade = _not_the_agents(workspace, git, added)
    reset_entries(git, workspace, nested + as_prepared + remade)
    nested_paths = [change.path for change in nested]
    left_out += [nested_repository(path) for path in nested_paths]
    left_out += [made_by_setup(change.path) for change in remade]
    left_out += _below_submodules(workspace, set(added.gitlinks) - set(nested_paths))
    tree, new_objects = _make_small_tree(workspace) or (None, None)
    if tree is None:
        tree = git.text(["write-tree"]).strip()
    elif is_read and new_objects is not None:
        store_objects(workspace, new_objects)
    if tree == (workspace.tree or base_tree(workspace)):
        return Capture(None, _new(workspace, left_out))
    return Capture(tree, _new(workspace, left_out), new_objects)


def _make_small_tree(workspace: Workspace) -> tuple[str, NewObjects] | None:
    """Make the tree of the index, and say which of its objects the base lacks; None if
    git has to, as where the index is large or was not the base's before the agent.
    """
    algorithm = workspace.object_format
    before = index_data(workspace)
    old_files = index_trees.read_index(before, algorithm) if before else None
    index = (workspace.capture / "index").read_bytes()
    files = index_trees.read_index(index, algorithm)
    if old_files is None or files is None:
        return None
    before_tree, old_trees = index_trees.make_trees(old_files, algorithm)
    if before_tree != workspace.tree:
        return None
    tree, trees = index_trees.make_trees(files, algorithm)
    paths = {entry[1]: path for path, entry in files.items() if entry[0] != GITLINK}
    new_blobs = paths.keys() - {object_id for _, object_id in old_files.values()}
    for object_id in new_blobs:
        _take_from_checkout(workspace, object_id, paths[object_id])
    if not _are_small_files(workspace.objects, new_blobs):
        return None
    new_trees = sorted(trees.keys() - old_trees.keys())
    in_memory = {each: ("tree", trees[each]) for each in new_trees}
    return tree, NewObjects(tuple(sorted(new_blobs)), in_memory)


def _take_from_checkout(workspace: Workspace, object_id: str, path: bytes) -> None:
    """Write the file's blob, if git has not as the repository has it elsewhere, and the
    file has just its bytes.
    """
    if loose_objects.info(workspace.objects, object_id) is not None:
        return
    data = read_regular(workspace.checkout / os.fsdecode(path), _MAX_SMALL_PACK)
    algorithm = workspace.object_format
    if data is not None and object_id_of("blob", data, algorithm) == object_id:
        write_loose(workspace.objects, object_id, "blob", data)


def _are_small_files(objects: Path, object_ids: Iterable[str]) -> bool:
    """Whether the objects are files of their own, and few bytes together. Git packs what
    is large.
    """
    size = 0
    for object_id in object_ids:
        info = loose_objects.info(objects, object_id)
        if info is None:
            return False
        size += info.size
    return size <= _MAX_SMALL_PACK


class _Seen(NamedTuple):
    """What is in a checkout: the bytes of all files, None in a large one; there the
    paths that git would add instead. `trap` and `unreadable` are a survey's.

    `index_tree` is the tree of the index, None if it has more than files or some of the
    checkout cannot be read.
    """

    size: int | None
    trap: LeftOut | None
    unreadable: Sequence[LeftOut]
    paths: Sequence[bytes] = ()
    index_tree: str | None = None


def _look_at_files(workspace: Workspace, git: Git) -> _Seen:
    """Look at the checkout. In a large one git says faster which files changed than each
    can be measured.
    """
    index = workspace.capture / "index"
    if index.stat().st_size <= _MAX_MEASURED_INDEX:
        surveyed = sizes.survey(workspace.checkout, git.watch)
        return _Seen(surveyed.size, surveyed.trap, surveyed.unreadable)
    # each of the two takes a core for as long
    with listing_paths_to_add(git) as paths:
        surveyed = sizes.survey(workspace.checkout, git.watch, measures=False)
        seen = _Seen(None, surveyed.trap, surveyed.unreadable)
        if seen.trap is not None:
            return seen
        data = index.read_bytes()
        tree = index_trees.recorded_tree(data, workspace.object_format)
        if tree is None or seen.unreadable or may_have_gitlinks(data):
            return seen._replace(paths=paths(None))
        surplus = None
        if plain_changes.keeps_what_it_is_given(workspace):
            surplus = surveyed.files - index_trees.number_of_entries(data)
        return seen._replace(paths=paths(surplus), index_tree=tree)


def _make_plain_tree(workspace: Workspace, git: Git, seen: _Seen) -> MadeTree | None:
    """The tree of a checkout whose changes are those of its agent, and nothing but plain
    files; None if git has to add them.
    """
    if workspace.prepared or workspace.submodules or workspace.included:
        return None
    tree, trees = seen.index_tree, _NO_TREES
    if seen.size is not None:
        tree, trees = _trees_of_small_base(workspace, seen)
    if tree is None:
        return None
    agent_index = _agent_index(workspace)
    if agent_index is not None:
        # as where the agent has only looked at the status
        has_base = tree == index_trees.recorded_tree(
            agent_index.read_bytes(), workspace.object_format
        )
        if not has_base and not adds_nothing_forced(git, agent_index):
            return None
    paths = seen.paths if seen.size is None else plain_paths_to_add(git)
    return plain_changes.make_tree(workspace, tree, paths, trees)


def _trees_of_small_base(
    workspace: Workspace, seen: _Seen
) -> tuple[str | None, Mapping[str, bytes]]:
    """The base's tree and id → content of all its trees, from the index; no tree where
    the changes are surely not plain, or the index is not the base's.
    """
    data = index_data(workspace)
    if data is None or seen.unreadable or may_have_gitlinks(data):
        return None, _NO_TREES
    # git would read a file that was empty, however large it is now
    max_bytes = workspace.limits.max_bytes
    if max_bytes is not None and (seen.size or 0) > max_bytes:
        return None, _NO_TREES
    if not plain_changes.may_be_plain(workspace):
        return None, _NO_TREES
    files = index_trees.read_index(data, workspace.object_format)
    if files is None:
        return None, _NO_TREES
    tree, trees = index_trees.make_trees(files, workspace.object_format)
    return (tree, trees) if tree == workspace.tree else (None, _NO_TREES)


class _Added(NamedTuple):
    """What became of the index: whether anything was added or removed, the submodules
    in it, and what git refused to add.
    """

    is_changed: bool
    gitlinks: list[str]
    left_out: list[LeftOut]


def _add(workspace: Workspace, git: Git, seen: _Seen) -> _Added:
    """Add the checkout's files to the index of `capture`."""
    index = workspace.capture / "index"
    before = _index_state(index)
    agent_index = _agent_index(workspace)
    max_bytes = workspace.limits.max_bytes
    if max_bytes is None:
        max_bytes = sys.maxsize
    left_out = not_ignored(git, seen.unreadable)
    if seen.size is None:
        left_out += sizes.too_large(git, max_bytes, workspace.base, seen.paths)
        refused = add_changed(git, seen.paths, without=left_out)
    else:
        if seen.size > max_bytes:
            left_out += sizes.too_large(git, max_bytes, workspace.base)
        refused = add_all(git, without=left_out)
    left_out += [explain(git, workspace.checkout, path) for path in refused]
    if agent_index is not None:
        too_large = partial(sizes.largest, workspace.checkout, max_bytes)
        left_out += add_forced(git, agent_index, too_large)
    # git replaces the index whenever it adds or removes anything
    return _Added(_index_state(index) != before, gitlinks(git, index), left_out)


def add_folder(git: Git, max_bytes: int | None, base: str) -> list[LeftOut]:
    """Add everything in git's folder to its index, and return what git refuses.

    Raises GitFailed, and adds nothing, if there is a file that git must not open, or if
    files whose sizes are not those in `base` have more than `max_bytes` together.
    """
    surveyed = sizes.survey(git.cwd, git.watch)
    left_out = []
    if surveyed.trap is not None:
        left_out.append(surveyed.trap)
    elif max_bytes is not None and (surveyed.size or 0) > max_bytes:
        left_out += sizes.too_large(git, max_bytes, base)
    if left_out:
        raise GitFailed(["add"], 1, str(left_out[0]))
    left_out = not_ignored(git, surveyed.unreadable)
    return left_out + [explain(git, git.cwd, path) for path in add_all(git)]


def changed_paths(workspace: Workspace, seconds: float) -> list[str]:
    """The paths in the checkout that are not as in the base; git has so many seconds to
    list them, whatever the workspace's limits. GitFailed if it cannot.
    """
    git = capture_git(workspace)._replace(timeout=seconds, cancel=None)
    paths = changed_since(git, workspace.base)
    return [os.fsdecode(path) for path in paths]


def _not_the_agents(
    workspace: Workspace, git: Git, added: _Added
) -> tuple[list[Change], list[Change], list[Change]]:
    """The changes in the index that are a repository which the agent made, those that
    are as set-up left them or came from the person's work tree, and files that set-up
    made and something has changed since.

    A build or a test run writes such files anew, and the next checkout gets them from
    set-up: in a commit they would hide a change of what they are made of.
    """
    if not added.gitlinks and not workspace.prepared and not workspace.included:
        return [], [], []
    nested, others = _index_changes(workspace, git)
    by_path = {change.path: change for change in workspace.prepared}
    as_prepared, remade = [], []
    for change in others:
        prepared = by_path.get(change.path)
        is_as_prepared = prepared is not None and prepared.new == change.new
        if is_as_prepared or _is_included(workspace, change):
            as_prepared.append(change)
        elif prepared is not None and prepared.old is None:
            remade.append(change)
    return nested, as_prepared, remade


def _is_included(workspace: Workspace, change: Change) -> bool:
    """Whether a new file came from the person's work tree: it is ignored there, whatever
    the agent made of `.gitignore`.
    """
    return change.old is None and workspace.included.covers(change.path)


def without_included(workspace: Workspace, tree: str) -> str | None:
    """The tree without the files from the person's work tree; None if it is the base's
    then.
    """
    changes = changes_in(workspace, tree)
    included = [change for change in changes if _is_included(workspace, change)]
    if not included:
        return tree
    index = workspace.capture / "included.index"
    git = workspace.git.with_env({"GIT_INDEX_FILE": str(index)})
    git.run(["read-tree", tree])
    reset_entries(git, workspace, included)
    remaining = git.text(["write-tree"]).strip()
    return None if remaining == base_tree(workspace) else remaining


def _agent_index(workspace: Workspace) -> Path | None:
    """A copy of the index in the agent's `.git`, None if it is as the checkout made it."""
    index = workspace.checkout / ".git" / "index"
    try:
        if index.resolve() != workspace.checkout.resolve() / ".git" / "index":
            return None  # it leads elsewhere
    except (OSError, RuntimeError):  # RuntimeError: a loop of links
        return None
    data = read_regular(index)
    if data is None or digest_of(data) == workspace.git_index:
        return None
    copy = workspace.capture / "agent.index"
    copy.write_bytes(data)
    return copy


def _new(workspace: Workspace, left_out: Iterable[LeftOut]) -> tuple[LeftOut, ...]:
    """Those that set-up had not left there already."""
    return tuple(each for each in left_out if each.path not in workspace.left_out)


def _index_changes(workspace: Workspace, git: Git) -> tuple[list[Change], list[Change]]:
    """How the index differs from the base: the paths where git took a repository for a
    new submodule, and the others.
    """
    nested, others = [], []
    for change in diff.parse_raw(git.run([*diff.INDEX, workspace.base])):
        was_submodule = change.old is not None and change.old[0] == GITLINK
        is_submodule = change.new is not None and change.new[0] == GITLINK
        if is_submodule and not was_submodule:
            nested.append(change)
        else:
            others.append(change)
    return nested, others


def _below_submodules(workspace: Workspace, paths: Iterable[str]) -> list[LeftOut]:
    """The submodules of the base with files that their commits do not explain."""
    checked_out = {submodule.path: submodule for submodule in workspace.submodules}
    left_out = []
    for path in sorted({*paths, *checked_out}):
        submodule = checked_out.get(path)
        if submodule is not None:
            if _submodule_tree(workspace, submodule) != submodule.tree:
                left_out.append(LeftOut(path, "is a submodule with changed files"))
            continue
        folder = workspace.checkout / path
        if not folder.is_dir() or not any(folder.iterdir()):
            continue
        if (folder / ".git").exists():
            reason = "is a submodule that the agent checked out"
            left_out.append(LeftOut(path, reason, harmless=True))
        else:
            reason = "is a submodule without its repository, and has new files"
            left_out.append(LeftOut(path, reason))
    return left_out


def _submodule_tree(workspace: Workspace, submodule: Submodule) -> str | None:
    """The tree of the submodule's files now; None if git cannot take them."""
    folder = workspace.checkout / submodule.path
    if not folder.is_dir():
        return None
    # its own index and objects: the agent's .git is not read
    git_dir = new_capture(workspace.folder)
    env = {**submodule.seed.environment(git_dir), "GIT_WORK_TREE": str(folder)}
    git = workspace.limits.applied_to(isolated_git(folder, env))
    max_bytes = workspace.limits.max_bytes
    if max_bytes is not None:
        max_bytes = max(max_bytes, _MAX_SUBMODULE_BYTES)
    try:
        submodule.seed.write_for_capture(git_dir)
        git.run(["read-tree", submodule.commit_tree])
        if add_folder(git, max_bytes, submodule.commit_tree):
            return None
        return git.text(["write-tree"]).strip()
    except GitStopped:
        raise
    except GitFailed:
        return None
    finally:
        remove_folder(git_dir)


def record_preparation(workspace: Workspace) -> Workspace:
    """The workspace after set-up, before the agent: what differs from the base now is
    not the agent's work.

    The largest files beyond _MAX_PREPARED_BYTES are not read: nothing that becomes of
    them is a result's.
    """
    limits = workspace.limits
    bounded = limits._replace(max_bytes=_MAX_PREPARED_BYTES)
    workspace = workspace._replace(limits=bounded)
    untouched = trusted_times.trust_untouched(workspace)
    workspace = untouched or workspace
    git = capture_git(workspace)
    looking: AbstractContextManager[None] = nullcontext()
    if untouched is not None:
        index, time = workspace.capture / "index", workspace.index_record.time
        looking = trusted_times.without_reading(index, time)
    with looking:
        seen = _look_at_files(workspace, git)
    if seen.trap is not None:
        raise GitFailed(["add"], 1, str(seen.trap))
    added = _add(workspace, git, seen)
    nested, prepared = _index_changes(workspace, git)
    nested_paths = {change.path for change in nested}
    left_out = {each.path for each in added.left_out} | nested_paths
    others = set(added.gitlinks) - nested_paths
    left_out |= {each.path for each in _below_submodules(workspace, others)}
    trees = [_submodule_tree(workspace, each) for each in workspace.submodules]
    submodules = tuple(
        submodule._replace(tree=tree)
        for submodule, tree in zip(workspace.submodules, trees, strict=True)
    )
    changed_submodules = {submodule.path for submodule in workspace.submodules}
    # With this index git need not read again what set-up made. Its objects are not
    # needed: what is as set-up left it becomes the base's before a tree is written.
    record = IndexRecord.of(workspace.capture / "index", workspace.index_copy)
    remove_folder(workspace.capture)
    return workspace._replace(
        capture=new_capture(workspace.folder),
        index_record=record,
        submodules=submodules,
        prepared=tuple(prepared),
        set_up=_changed_since(prepared, workspace.prepared),
        # a submodule's files are compared with what set-up made of them
        left_out=workspace.left_out | (left_out - changed_submodules),
        limits=limits,
    )


def _changed_since(now: Sequence[Change], earlier: Sequence[Change]) -> tuple[str, ...]:
    """The files of the base that are changed now and were not changed so earlier."""
    known = {(change.path, change.new) for change in earlier}
    return tuple(
        change.path
        for change in now
        if change.old is not None and (change.path, change.new) not in known
    )


def _index_state(index: Path) -> tuple[int, int, int]:
    status = index.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size
