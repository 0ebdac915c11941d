"""An agent's checkout: made from the base, and what the agent left in it captured as a
git tree.

The checkout's own `.git` is the agent's: it borrows the repository's objects and has no
remote. Work is captured with a second git directory and index outside the checkout,
because `core.fsmonitor` or a clean filter set in the agent's `.git` would run code.
They are made when the agent has ended: what is on the disk earlier, every agent of the
run can change.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, NamedTuple

from runner.attempt import sizes
from runner.attempt.git_directory import Seed
from runner.attempt.included_files import NOTHING, Included
from runner.attempt.left_out import (
    LeftOut,
    add_all,
    add_changed,
    add_forced,
    changed_since,
    explain,
    gitlinks,
    made_by_setup,
    nested_repository,
    not_ignored,
    paths_to_add,
)
from runner.core.errors import GitFailed, GitStopped
from runner.core.folders import remove_folder
from runner.policy.change import GITLINK, Change
from runner.policy.redaction import Secrets
from runner.repo import diff, index_trees, loose_objects, pack_writer, secret_search
from runner.repo.batch_process import ObjectReader
from runner.repo.command import TIME_LIMIT, Git, isolated_git
from runner.repo.objects import object_id_of, write_loose
from runner.repo.origin import Origin

_MAX_INDEX_BYTES = 2**30
# Bytes of what git prints about a result. A list of a million paths has a tenth of it; a
# tree that holds itself many times over would fill the memory.
_MAX_GIT_OUTPUT = 2**30
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
# Bytes of an index that stays in memory, which there are as many as attempts.
_MAX_INDEX_IN_MEMORY = 2**18
_SHA1_LENGTH = 40  # hexadecimal digits of an id


@dataclass(frozen=True)
class Submodule:
    """A submodule that fanin checked out at `path`: the contents of a git directory to
    capture it with, the tree of its commit, and the tree that its files were before the
    agent, None if git could not take them then.
    """

    path: str
    seed: Seed = field(repr=False)
    commit_tree: str
    tree: str | None


class Capture(NamedTuple):
    """What was captured: the tree, None if it is the base's, and what it lacks.

    `new_objects` are the ids of the objects of the tree that the base lacks, all of them
    files in `workspace.objects`; None if that is not known.
    """

    tree: str | None
    left_out: tuple[LeftOut, ...] = ()
    new_objects: tuple[str, ...] | None = None


@dataclass(frozen=True)
class CaptureLimits:
    """What git may take for work that an agent left.

    timeout: seconds, for each command.
    cancel: ends it when set.
    max_bytes: of changed files; None: any number.
    """

    timeout: float = TIME_LIMIT
    cancel: threading.Event | None = None
    max_bytes: int | None = None

    def applied_to(self, git: Git) -> Git:
        return replace(
            git, timeout=self.timeout, cancel=self.cancel, max_output=_MAX_GIT_OUTPUT
        )


@dataclass(frozen=True)
class IndexRecord:
    """The index as fanin wrote it, in `data` if it is small; else `digest` tells whether
    the copy of its file is still that. `time` is the file's, in nanoseconds.
    """

    digest: bytes
    time: int
    data: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, file: Path, copy: Path) -> IndexRecord:
        """The record of the index in `file`, and its copy if it is large."""
        data, time = file.read_bytes(), file.stat().st_mtime_ns
        if len(data) <= _MAX_INDEX_IN_MEMORY:
            return cls(_digest(data), time, data)
        copy.write_bytes(data)
        return cls(_digest(data), time)


@dataclass(frozen=True)
class Workspace:
    """The folder of one attempt on commit `base`.

    `checkout` is for the agent. The git directory `capture` is for fanin alone: it is
    made by `capture()`, from `seed`, under a name that nobody can know before.
    `index_record` is the checkout's index from before the agent, `index` a copy of it
    where it is large, and `git_index` the digest of the checkout's own. `tree` is the base's, if the
    caller knows it. `submodules` are those that are checked out. `prepared` are the
    changes that set-up made before the agent, `left_out` the paths that could not be
    captured then, `set_up` the files of the base that set-up changed. `included` came
    from the person's work tree. `is_ready`: neither this nor set-up is needed again.
    `limits` are those of every git command on what is there.
    """

    folder: Path
    base: str
    seed: Seed = field(repr=False)
    capture: Path
    index_record: IndexRecord
    git_index: bytes
    tree: str | None = None
    submodules: tuple[Submodule, ...] = ()
    prepared: tuple[Change, ...] = ()
    left_out: frozenset[str] = frozenset()
    set_up: tuple[str, ...] = ()
    included: Included = NOTHING
    is_ready: bool = False
    limits: CaptureLimits = CaptureLimits()

    @property
    def checkout(self) -> Path:
        return _checkout_in(self.folder)

    @property
    def index(self) -> Path:
        return _index_in(self.folder)

    @property
    def object_format(self) -> str:
        """`sha1` or `sha256`, as the base's id has it."""
        return "sha1" if len(self.base) == _SHA1_LENGTH else "sha256"

    @property
    def number_of_files(self) -> int:
        """How many files the index has, by its header. To be asked before the agent."""
        data = self.index_record.data
        if data is None:
            with self.index.open("rb") as file:
                data = file.read(12)
        return int.from_bytes(data[8:12])

    @property
    def objects(self) -> Path:
        """The folder of the objects that `capture()` and later steps write."""
        return self.capture / "objects"

    @property
    def git(self) -> Git:
        """Git that works in the git directory `capture`, once that is made."""
        env = {"GIT_DIR": str(self.capture), **self.seed.environment}
        git = isolated_git(self.folder, env)
        return self.limits.applied_to(git)

    def remove(self) -> None:
        remove_folder(self.folder)


def create(
    origin: Origin, base: str, folder: Path, branch: str, seed: Seed | None = None
) -> Workspace:
    """Make a checkout of commit `base` in `folder`, on a branch of that name.

    `seed` is one of this origin, from a folder on the same file system; None: make one.
    Raises GitFailed if git cannot.
    """
    folder.mkdir(parents=True)
    if seed is None:
        seed = Seed.of(origin, folder)
    seed.write_for_agent(_checkout_in(folder) / ".git", branch, base)
    record = _check_out(folder, base)
    return Workspace(folder, base, seed, _new_capture(folder), record, record.digest)


def moved(workspace: Workspace, base: str, folder: Path, branch: str) -> Workspace:
    """Move a workspace that no agent has used yet to another folder and another base.

    Only files that differ are written. Raises GitFailed if git cannot, or if another
    attempt's agent has changed the index or a file.
    """
    workspace.folder.rename(folder)
    workspace = replace(workspace, folder=folder)
    _refuse_touched(renew_git_directory(workspace, base, branch))
    record = workspace.index_record
    if base != workspace.base:
        record = _check_out(folder, base)
    return _at(workspace, base, record)


def _refuse_touched(git: Git) -> None:
    """Raise GitFailed unless the checkout has the files of its index and no others.

    The index has the change time (ctime) of each, which no program can set back.
    """
    if git.status(["diff-files", "--quiet"]) or git.run(["ls-files", "--others"]):
        raise GitFailed(["diff-files"], 1, "a spare checkout was changed")


def renew_git_directory(workspace: Workspace, base: str, branch: str) -> Git:
    """Make the checkout's `.git` anew, on commit `base`, with the index of before. The
    files stay as they are.

    Returns the git of the checkout. Raises GitFailed if an agent has changed the index.
    """
    record = workspace.index_record
    data = _index_data(workspace)
    if data is None:
        raise GitFailed(["read-tree"], 128, "the index of a spare checkout was changed")
    # An agent may have changed the rest as well: fanin's git reads none of it.
    git_dir = workspace.checkout / ".git"
    if git_dir.is_dir() or git_dir.is_symlink():
        remove_folder(git_dir)
    else:
        git_dir.unlink(missing_ok=True)
    workspace.seed.write_for_agent(git_dir, branch, base)
    _write_index(git_dir / "index", data, record.time)
    return isolated_git(workspace.checkout)


def reset_files(workspace: Workspace, base: str) -> Workspace:
    """Give every file of the index the content that it has in commit `base`, and remove
    those that are not in it. Other files stay.

    To be called with a new git directory. Raises GitFailed if git cannot.
    """
    record = _check_out(workspace.folder, base, "--reset")
    return _at(workspace, base, record)


def _at(workspace: Workspace, base: str, record: IndexRecord) -> Workspace:
    return replace(
        workspace,
        base=base,
        tree=None,
        capture=_new_capture(workspace.folder),
        index_record=record,
        git_index=record.digest,
    )


def _checkout_in(folder: Path) -> Path:
    return folder / "checkout"


def _index_in(folder: Path) -> Path:
    return folder / "checkout.index"


def _new_capture(folder: Path) -> Path:
    """Where to capture: nothing is there, and no agent can put anything there."""
    return folder / f"capture-{token_hex(16)}"


def _check_out(folder: Path, base: str, how: str = "-m") -> IndexRecord:
    """Give the checkout the base's files. The branch and HEAD are set already."""
    checkout = _checkout_in(folder)
    isolated_git(checkout).run(["read-tree", how, "-u", base])
    # with the index's own time: git needs it to know which files may have changed within
    # the same tick of the clock
    return IndexRecord.of(checkout / ".git" / "index", _index_in(folder))


def trust_times(workspace: Workspace, file: Path) -> Workspace:
    """The workspace whose checkout's times git may trust, if the clock has moved on
    since its files were written.

    To be called before the agent starts, with a file that was written just now. What
    the agent writes cannot have an older time than that, so a file with the time that
    the checkout gave it is the checkout's. Without this, git reads every file again
    that is as old as the index, and these are many in a checkout made within one tick
    of the clock.
    """
    now = file.stat().st_mtime_ns
    if now <= workspace.index_record.time:
        return workspace
    return replace(workspace, index_record=replace(workspace.index_record, time=now))


def capture(workspace: Workspace) -> Capture:
    """The tree that the agent left, without ignored files. Its new objects are in
    `workspace.objects`.

    To be called when the agent and all its processes have ended. What git cannot take
    is left out and named: a path that it refuses, a repository that the agent made,
    files below a submodule, files that are too large. Raises GitFailed if the checkout
    is gone or git cannot work there at all, GitStopped at one of the workspace's limits.
    """
    git = capture_git(workspace)
    surveyed = _survey(workspace, git)
    if surveyed.trap is not None:
        reason = "was not captured because of it"
        return Capture(None, (surveyed.trap, LeftOut(".", reason)))
    added = _add(workspace, git, surveyed)
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
    tree, new_objects = _write_small_tree(workspace) or (None, None)
    if tree is None:
        tree = git.text(["write-tree"]).strip()
    base_tree = workspace.tree or _base_tree(workspace)
    if tree == base_tree:
        return Capture(None, _new(workspace, left_out))
    return Capture(tree, _new(workspace, left_out), new_objects)


def _write_small_tree(workspace: Workspace) -> tuple[str, tuple[str, ...]] | None:
    """Write the tree of the index, and say which of its objects the base lacks; None if
    git has to, as where the index is large or was not the base's before the agent.
    """
    algorithm = workspace.object_format
    before = _index_data(workspace)
    old_files = index_trees.read_index(before, algorithm) if before else None
    index = (workspace.capture / "index").read_bytes()
    files = index_trees.read_index(index, algorithm)
    if old_files is None or files is None:
        return None
    base_tree, old_trees = index_trees.make_trees(old_files, algorithm)
    if base_tree != workspace.tree:
        return None
    tree, trees = index_trees.make_trees(files, algorithm)
    paths = {entry[1]: path for path, entry in files.items() if entry[0] != GITLINK}
    new_blobs = paths.keys() - {object_id for _, object_id in old_files.values()}
    for object_id in new_blobs:
        _take_from_checkout(workspace, object_id, paths[object_id])
    if not _are_small_files(workspace.objects, new_blobs):
        return None
    new_trees = trees.keys() - old_trees.keys()
    for object_id in new_trees:
        write_loose(workspace.objects, object_id, "tree", trees[object_id])
    return tree, (*sorted(new_trees), *sorted(new_blobs))


def _take_from_checkout(workspace: Workspace, object_id: str, path: bytes) -> None:
    """Write the file's blob, if git has not as the repository has it elsewhere, and the
    file has just its bytes.
    """
    if loose_objects.info(workspace.objects, object_id) is not None:
        return
    data = _read_regular(workspace.checkout / os.fsdecode(path), _MAX_SMALL_PACK)
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


def _survey(workspace: Workspace, git: Git) -> sizes.Survey:
    """Look at the checkout. In a large one git says faster which files changed than each
    can be measured.
    """
    index = workspace.capture / "index"
    measures = index.stat().st_size <= _MAX_MEASURED_INDEX
    return sizes.survey(workspace.checkout, git.watch, measures=measures)


class _Added(NamedTuple):
    """What became of the index: whether anything was added or removed, the submodules
    in it, and what git refused to add.
    """

    is_changed: bool
    gitlinks: list[str]
    left_out: list[LeftOut]


def _add(workspace: Workspace, git: Git, surveyed: sizes.Survey) -> _Added:
    """Add the checkout's files to the index of `capture`."""
    index = workspace.capture / "index"
    before = _index_state(index)
    agent_index = _agent_index(workspace)
    max_bytes = workspace.limits.max_bytes
    if max_bytes is None:
        max_bytes = sys.maxsize
    left_out = not_ignored(git, surveyed.unreadable)
    if surveyed.size is None:
        paths = paths_to_add(git)
        left_out += sizes.too_large(git, max_bytes, workspace.base, paths)
        refused = add_changed(git, paths, without=left_out)
    else:
        if surveyed.size > max_bytes:
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
    git = replace(capture_git(workspace), timeout=seconds, cancel=None)
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
    changes = _changes(workspace, tree)
    included = [change for change in changes if _is_included(workspace, change)]
    if not included:
        return tree
    index = workspace.capture / "included.index"
    git = workspace.git.with_env({"GIT_INDEX_FILE": str(index)})
    git.run(["read-tree", tree])
    reset_entries(git, workspace, included)
    remaining = git.text(["write-tree"]).strip()
    return None if remaining == _base_tree(workspace) else remaining


def _agent_index(workspace: Workspace) -> Path | None:
    """A copy of the index in the agent's `.git`, None if it is as the checkout made it."""
    index = workspace.checkout / ".git" / "index"
    try:
        if index.resolve() != workspace.checkout.resolve() / ".git" / "index":
            return None  # it leads elsewhere
    except (OSError, RuntimeError):  # RuntimeError: a loop of links
        return None
    data = _read_regular(index)
    if data is None or _digest(data) == workspace.git_index:
        return None
    copy = workspace.capture / "agent.index"
    copy.write_bytes(data)
    return copy


def check_out(workspace: Workspace, tree: str) -> None:
    """Give the checkout the files of a captured tree."""
    capture_git(workspace).run(["read-tree", "--reset", "-u", tree])


def is_there(checkout: Path) -> bool:
    """Whether the agent has left its checkout.

    A link in its place is none: what it leads to would be taken for the task's work.
    """
    return checkout.is_dir() and not checkout.is_symlink()


@contextmanager
def starting(workspace: Workspace) -> Iterator[Workspace]:
    """The workspace with another git directory, for what is to be done before the agent
    starts. It is gone at the end.
    """
    before_agent = replace(workspace, capture=_new_capture(workspace.folder))
    try:
        yield before_agent
    finally:
        remove_folder(before_agent.capture)


def put_files(workspace: Workspace, changes: Sequence[Change]) -> None:
    """Make these changes of the base's files in the checkout, before the agent starts.
    What set-up left elsewhere stays.

    The agent sees them as changes that are staged and not committed. The capture does
    not read the agent's index, except for what it adds past `.gitignore`.
    """
    git = capture_git(workspace)
    for change in changes:
        if change.new is None:
            remove_file(workspace.checkout, change.path)
    _set_entries(git, workspace, [(change.path, change.new) for change in changes])
    paths = b""
    for change in changes:
        if change.new is not None and change.new[0] != GITLINK:
            paths += os.fsencode(change.path) + b"\0"
    git.run(["checkout-index", "-f", "-u", "-z", "--stdin"], stdin=paths)
    own = workspace.checkout / ".git"
    objects = shutil.ignore_patterns("info")
    shutil.copytree(
        workspace.objects, own / "objects", ignore=objects, dirs_exist_ok=True
    )
    shutil.copy2(workspace.capture / "index", own / "index")


def remove_file(checkout: Path, path: str) -> None:
    """Remove a file of the base, and the folders that are empty then."""
    with suppress(OSError):
        (checkout / path).unlink()
        for folder in Path(path).parents:
            if folder.name:
                (checkout / folder).rmdir()


def capture_git(workspace: Workspace) -> Git:
    """The git that captures the checkout. Its git directory is made if it is not there."""
    if not is_there(workspace.checkout):
        raise GitFailed(["add", "-A"], 128, "the agent deleted its checkout")
    env = {"GIT_WORK_TREE": str(workspace.checkout)}
    git = replace(workspace.git.with_env(env), cwd=workspace.checkout)
    if workspace.capture.is_dir():
        return git
    workspace.seed.write(workspace.capture)
    data = _index_data(workspace)
    if data is None:
        # somebody changed it: git reads every file of the checkout again
        git.run(["read-tree", workspace.base])
    else:
        _write_index(workspace.capture / "index", data, workspace.index_record.time)
    return git


def _write_index(file: Path, data: bytes, time: int) -> None:
    file.write_bytes(data)
    os.utime(file, ns=(time, time))


def _index_data(workspace: Workspace) -> bytes | None:
    """The index as fanin wrote it, None if it is another one now."""
    record = workspace.index_record
    if record.data is not None:
        return record.data
    data = _read_regular(workspace.index)
    return data if data is not None and _digest(data) == record.digest else None


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _read_regular(file: Path, max_bytes: int = _MAX_INDEX_BYTES) -> bytes | None:
    """The bytes of a file that an agent can reach; None if it is anything but a regular
    file of at most that size.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would hold us
    try:
        with open(os.open(file, flags), "rb") as stream:  # noqa: PTH123
            status = os.fstat(stream.fileno())
            is_usual = stat.S_ISREG(status.st_mode) and status.st_size <= max_bytes
            return stream.read() if is_usual else None
    except OSError:
        return None


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
    git_dir = _new_capture(workspace.folder)
    env = {
        **submodule.seed.environment,
        "GIT_DIR": str(git_dir),
        "GIT_WORK_TREE": str(folder),
    }
    git = workspace.limits.applied_to(isolated_git(folder, env))
    max_bytes = workspace.limits.max_bytes
    if max_bytes is not None:
        max_bytes = max(max_bytes, _MAX_SUBMODULE_BYTES)
    try:
        submodule.seed.write(git_dir)
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
    bounded = replace(limits, max_bytes=_MAX_PREPARED_BYTES)
    workspace = replace(workspace, limits=bounded)
    git = capture_git(workspace)
    surveyed = _survey(workspace, git)
    if surveyed.trap is not None:
        raise GitFailed(["add"], 1, str(surveyed.trap))
    added = _add(workspace, git, surveyed)
    nested, prepared = _index_changes(workspace, git)
    nested_paths = {change.path for change in nested}
    left_out = {each.path for each in added.left_out} | nested_paths
    others = set(added.gitlinks) - nested_paths
    left_out |= {each.path for each in _below_submodules(workspace, others)}
    trees = [_submodule_tree(workspace, each) for each in workspace.submodules]
    submodules = tuple(
        replace(submodule, tree=tree)
        for submodule, tree in zip(workspace.submodules, trees, strict=True)
    )
    changed_submodules = {submodule.path for submodule in workspace.submodules}
    # With this index git need not read again what set-up made. Its objects are not
    # needed: what is as set-up left it becomes the base's before a tree is written.
    record = IndexRecord.of(workspace.capture / "index", workspace.index)
    remove_folder(workspace.capture)
    return replace(
        workspace,
        capture=_new_capture(workspace.folder),
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


def reset_entries(git: Git, workspace: Workspace, changes: Iterable[Change]) -> None:
    """Give these paths of the index the base's entries again."""
    _set_entries(git, workspace, [(change.path, change.old) for change in changes])


def _set_entries(
    git: Git,
    workspace: Workspace,
    entries: Iterable[tuple[str, tuple[str, str] | None]],
) -> None:
    """Give these paths of the index these (mode, object); None removes a path."""
    lines = []
    for path, entry in entries:
        mode, blob = entry or ("0", "0" * len(workspace.base))
        lines.append(f"{mode} {blob}\t".encode() + os.fsencode(path) + b"\0")
    if lines:
        git.run(["update-index", "-z", "--index-info"], stdin=b"".join(lines))


def _changes(workspace: Workspace, tree: str) -> list[Change]:
    output = workspace.git.run([*diff.RAW, f"{workspace.base}^{{tree}}", tree])
    return diff.parse_raw(output)


def _index_state(index: Path) -> tuple[int, int, int]:
    status = index.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _base_tree(workspace: Workspace) -> str:
    return workspace.git.text(["rev-parse", f"{workspace.base}^{{tree}}"]).strip()


def first_secret(
    workspace: Workspace, tree: str, secrets: Secrets
) -> tuple[str, str] | None:
    """(path, secret's name) of the first new file or new path in `tree` with a secret;
    None if no file or path holds a secret.
    """
    if not secrets:
        return None
    changes = _changes(workspace, tree)
    reader = ObjectReader(workspace.git)
    try:
        return secret_search.first_secret(changes, secrets, reader.first_match)
    finally:
        reader.close()


def write_pack(
    workspace: Workspace,
    tree: str,
    pack: Path,
    new_objects: Sequence[str] | None = None,
) -> None:
    """Write the objects of `tree` that the base lacks to the file `pack`, as a thin
    pack, not durable yet. `new_objects` are those of the capture, if the tree is the
    captured one.
    """
    with pack.open("wb") as sink:
        if new_objects is not None:
            sink.write(_small_pack(workspace, new_objects))
            return
        append_pack(workspace, f"{tree}\n^{workspace.base}^{{tree}}\n", sink)


def _small_pack(workspace: Workspace, object_ids: Sequence[str]) -> bytes:
    objects = []
    for object_id in object_ids:
        content = loose_objects.content(workspace.objects, object_id)
        if content is None:
            raise GitFailed(["pack-objects"], 128, f"{object_id} is gone")
        objects.append(content)
    return pack_writer.make_pack(objects, workspace.object_format)


def append_pack(workspace: Workspace, revisions: str, sink: BinaryIO) -> None:
    """Write the objects of the revisions, as `git rev-list` reads them, to `sink` as a
    thin pack, not durable yet.
    """
    # thin: a delta may be against an object of the base, which the reader has
    argv = [
        *("pack-objects", "-q", "--thin", "--stdout", "--revs"),
        "--delta-base-offset",
    ]
    workspace.git.run(argv, stdin=revisions.encode(), stdout=sink)
