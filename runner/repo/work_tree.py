"""Work trees that a person has checked out: unfinished operations and dirty files, and
moving a branch together with its files.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from runner.core import durable
from runner.core.errors import EnvironmentBroken, GitFailed, GitStopped, UsageProblem
from runner.policy.change import EXECUTABLE, REGULAR, SYMLINK, Change
from runner.repo import clean_files, ref_update
from runner.repo.landing import Landing
from runner.repo.ref_update import Reason, RefUpdate
from runner.repo.repository import Repository

# A status takes longer in a very large work tree, or where git waits at a named pipe.
STATUS_SECONDS = 20.0
# files in a work tree's git directory → the unfinished operation that leaves them
_UNFINISHED = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "BISECT_LOG": "bisect",
}
# files that name the branch of an operation with a detached HEAD → the operation
_DETACHED_USES = {
    "rebase-merge/head-name": "rebase",
    "rebase-merge/update-refs": "rebase",
    "rebase-apply/head-name": "rebase",
    "BISECT_START": "bisect",
}
# bytes of the paths that git gets as arguments
_MAX_ARGUMENTS = 2**16
# seconds to wait while another program, such as a prompt, holds the index's lock
_LOCK_WAITS = (0.1, 0.3, 1.0, 3.0)
# commands that hold none of these locks for long, such as fanin's own, and may run for
# long, behind a pager for example
_HARMLESS = frozenset(
    {b"cat-file", b"update-ref", b"log", b"diff", b"show", b"fsmonitor--daemon"}
)
# seconds that a git which outlived a crash has to end, and between looks at it
_MAX_WAIT, _POLL = 10.0, 0.1


def checked_out_at(repo: Repository, branch: str) -> Path | None:
    """The work tree that has the branch checked out, the main one or a linked one."""
    if repo.current_branch() == branch:
        return repo.root
    listing = repo.git.run(["worktree", "list", "--porcelain", "-z"])
    folder: Path | None = None
    for line in listing.split(b"\0"):
        key, _, value = line.partition(b" ")
        if key == b"worktree":
            folder = Path(os.fsdecode(value))
        elif key == b"branch" and os.fsdecode(value) == f"refs/heads/{branch}":
            # a linked work tree may have been deleted by hand
            return folder if folder and folder.is_dir() else None
    return None


def unfinished(repo: Repository, folder: Path) -> str | None:
    """The operation that is unfinished in that work tree (merge, rebase, …), or None."""
    git_dir = _git_dir(repo, folder)
    for name, operation in _UNFINISHED.items():
        if (git_dir / name).exists():
            return operation
    return None


def detached_use(repo: Repository, branch: str) -> str | None:
    """Why the branch must not move although no work tree has it checked out, or None.

    During a rebase or a bisection HEAD is detached, and git moves the branch, or goes
    back to it, at the end. git's own commands refuse to move such a branch.
    """
    for git_dir in (repo.git_dir, *repo.git_dir.glob("worktrees/*")):
        for path, operation in _DETACHED_USES.items():
            try:
                names = (git_dir / path).read_text(errors="replace").split()
            except OSError:
                continue
            if branch in names or f"refs/heads/{branch}" in names:
                return f"a {operation} of {branch} is in progress"
    return None


def dirty_paths(
    repo: Repository, folder: Path, among: Sequence[str] | None = None
) -> list[str]:
    """Tracked paths whose content, mode or stage differs from HEAD; at least all of those
    that are `among` these paths, if any are given.

    Changes inside submodules are ignored. Raises EnvironmentBroken if git waits at a
    `.gitattributes` that is no regular file.
    """
    argv = [
        *("--literal-pathspecs", "-C", str(folder), "status", "--porcelain=v1", "-z"),
        *("--no-renames", "--untracked-files=no", "--ignore-submodules=dirty"),
    ]
    # Few paths are looked at faster than a large work tree is.
    if among is not None and sum(map(len, among)) <= _MAX_ARGUMENTS:
        if not among:
            return []
        argv += ["--", *among]
    # status refreshes the index otherwise; a git that dies then leaves index.lock
    env = {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        output = repo.git._replace(timeout=STATUS_SECONDS).run(argv, env=env)
    except GitStopped:
        listed = repo.git.run(["-C", str(folder), "ls-files", "-z"])
        tracked = [os.fsdecode(name) for name in listed.split(b"\0") if name]
        _refuse_special_attributes(folder, tracked)
        output = repo.git.run(argv, env=env)
    # two letters and a space come before the path
    return [os.fsdecode(line[3:]) for line in output.split(b"\0") if line]


def _refuse_special_attributes(folder: Path, paths: Iterable[str]) -> None:
    """Raise EnvironmentBroken if a folder of these files has a `.gitattributes` such as a
    named pipe, which git opens to compare or to write a file and at which it waits.
    """
    for parent in sorted({parent for path in paths for parent in Path(path).parents}):
        attributes = folder / parent / ".gitattributes"
        with suppress(OSError):
            mode = attributes.lstat().st_mode
            # git follows no link there
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                raise EnvironmentBroken(
                    f"not a regular file: {attributes}. Git waits for it",
                    "remove it, then run again: finished work is kept",
                )


def uncommitted_paths(
    repo: Repository, folder: Path, paths: Sequence[str]
) -> list[str]:
    """The files at or below these paths that differ from HEAD or are not in it."""
    argv = [
        *("--literal-pathspecs", "-C", str(folder), "status", "--porcelain=v1", "-z"),
        *("--no-renames", "--untracked-files=all", "--ignore-submodules=dirty"),
        *("--", *paths),
    ]
    output = repo.git.run(argv, env={"GIT_OPTIONAL_LOCKS": "0"})
    return [os.fsdecode(line[3:]) for line in output.split(b"\0") if line]


def commit_paths(
    repo: Repository, folder: Path, paths: Sequence[str], message: str
) -> None:
    """Commit what `folder` has at these paths, and nothing else that is staged there.

    Raises GitFailed if git or a hook refuses.
    """
    argv = ["-C", str(folder), "commit", "-q", "-m", message, "--", *paths]
    # A file named `*.py` is only that file.
    repo.git.run(argv, env={"GIT_LITERAL_PATHSPECS": "1"})


def plan_landing(
    repo: Repository,
    branch: str,
    old: str,
    new: str,
    dirty: Collection[str] | None = None,
) -> Landing:
    """The landing that is to begin now. `dirty` are the `dirty_paths` where the branch is
    checked out, if they are known. Raises EnvironmentBroken if git would wait there.
    """
    folder = checked_out_at(repo, branch)
    if folder is None:
        return Landing(branch, old, new, ())
    changes = repo.changes(old, new)
    _refuse_special_attributes(folder, [change.path for change in changes])
    if dirty is None:
        index = _git_dir(repo, folder) / "index"
        algorithm = repo.configuration.object_format
        if clean_files.are_clean(folder, index, changes, algorithm):
            dirty = ()
        else:
            dirty = dirty_paths(repo, folder, [change.path for change in changes])
    occupied = set(dirty) & {change.path for change in changes}
    for change in changes:
        if change.old is None and os.path.lexists(folder / change.path):
            occupied.add(change.path)
    return Landing(branch, old, new, tuple(sorted(occupied)))


def land(repo: Repository, landing: Landing) -> RefUpdate:
    """Move the branch, and its files where it is checked out, as `git merge --ff-only`
    would. If that fails, the files and the index are as before, unless the outcome says
    that they could not be restored.

    Untracked files, ignored ones too, are never overwritten. They and dirty tracked
    files are a reason to refuse.
    """
    update, is_locked = _try_to_land(repo, landing)
    for seconds in _LOCK_WAITS:
        if not is_locked:
            break
        # an editor or prompt asks git for the status at this moment
        time.sleep(seconds)
        # In the meantime a person may have switched to another branch, which git would
        # move instead.
        update, is_locked = _try_to_land(repo, landing)
    if update.landed:
        # The journal may say so only then.
        repo.sync_refs([f"refs/heads/{landing.branch}"])
    return update


def _try_to_land(repo: Repository, landing: Landing) -> tuple[RefUpdate, bool]:
    """Land once; also return whether the index is locked, and nothing was written."""
    old, new = landing.old, landing.new
    ref = f"refs/heads/{landing.branch}"
    head = repo.commit(ref)
    if head != old:
        return (ref_update.LANDED if head == new else ref_update.MOVED), False
    if reason := detached_use(repo, landing.branch):
        return ref_update.refusal(reason, Reason.OBSTACLE), False
    folder = checked_out_at(repo, landing.branch)
    if folder is None:
        return _move_ref(repo, ref, old, new), False
    durable.checkpoint("before landing")
    messages = _fast_forward(repo, folder, landing)
    durable.checkpoint("after landing")
    head = repo.commit(ref)
    if head != old:
        return (ref_update.LANDED if head == new else ref_update.MOVED), False
    refusal = ref_update.refusal(messages, Reason.OBSTACLE)
    if "index.lock" in messages:
        return refusal._replace(undone=False), True
    # git writes the files and the index before it moves the branch
    try:
        _undo(repo, folder, landing)
    except (GitFailed, OSError):  # no space, or the index is locked
        refusal = refusal._replace(undone=False)
    return refusal, False


def _move_ref(repo: Repository, ref: str, old: str, new: str) -> RefUpdate:
    refusal = repo.ref_refusal(ref, new, old)
    if refusal is None:
        return ref_update.LANDED
    if repo.commit(ref) != old:
        return ref_update.MOVED
    return ref_update.refusal(refusal, Reason.OTHER)


def _fast_forward(repo: Repository, folder: Path, landing: Landing) -> str:
    """Fast-forward the checkout in `folder`; return git's messages if it did not."""
    new = landing.new
    # where fanin was started: git logs the HEAD of no other work tree with the branch
    is_own = folder == repo.root and unfinished(repo, folder) is None
    if is_own and _is_room_for_new(repo, folder, landing):
        # as `git merge` does it, without ORIG_HEAD and without fsyncs but for the branch
        argv = ["-C", str(folder), "read-tree", "-m", "-u", landing.old, new]
        read = repo.git.run_unchecked([*argv, "--no-recurse-submodules"])
        if read.status != 0 and "index.lock" in read.stderr:
            return read.stderr
        ref = f"refs/heads/{landing.branch}"
        if read.status == 0 and repo.set_ref(ref, new, landing.old):
            return ""
        if read.status != 0 and not _is_undone(repo, folder, landing):
            return read.stderr
    # It says why, and takes files of which only the times are not those of the index.
    # --no-squash: the user's merge options for the branch may say otherwise.
    # --no-overwrite-ignore: git would otherwise overwrite ignored files.
    argv = [
        *("-C", str(folder), "merge", "-q", "--ff-only", "--no-squash"),
        *("--no-overwrite-ignore", new),
    ]
    return repo.git.with_config("core.fsync=all").run_unchecked(argv).stderr


def _is_undone(repo: Repository, folder: Path, landing: Landing) -> bool:
    """Take back what git has written before it failed, where the next git would find it
    in the way and name it as the reason. Returns whether that could be done.
    """
    if repo.commit(f"refs/heads/{landing.branch}") != landing.old:
        return False
    try:
        _undo(repo, folder, landing)
    except (GitFailed, OSError):
        return False
    return True


def _is_room_for_new(repo: Repository, folder: Path, landing: Landing) -> bool:
    """Whether nothing is where the landing makes files, nor a file where it makes
    folders: `git read-tree` overwrites what is ignored.
    """
    seen: set[Path] = set()
    for change in repo.changes(landing.old, landing.new):
        if change.old is not None:
            continue
        if os.path.lexists(folder / change.path):
            return False
        for parent in Path(change.path).parents:
            if parent in seen:
                break
            seen.add(parent)
            where = folder / parent
            if os.path.lexists(where) and (where.is_symlink() or not where.is_dir()):
                return False
    return True


def undo_interrupted(repo: Repository, landing: Landing) -> list[str]:
    """Undo a landing whose process died before the branch moved, so that it can be done
    again.

    A killed fast-forward leaves the old HEAD, some new files, a file that is written in
    part, and `index.lock`. What the landing made is as before. Returns the paths that
    hold something else, which are left alone.

    Raises UsageProblem while another git works there, whose locks these may be, and
    EnvironmentBroken if the files cannot be restored.
    """
    folder = checked_out_at(repo, landing.branch)
    ref = f"refs/heads/{landing.branch}"
    if folder is None or repo.commit(ref) != landing.old:
        return []
    git_dir = _git_dir(repo, folder)
    locks = (
        git_dir / "index.lock",
        git_dir / "HEAD.lock",
        repo.git_dir / f"{ref}.lock",
    )
    if any(lock.exists() for lock in locks):
        _wait_for_git(folder)
        # perhaps it was the landing's own git, and it has finished
        if repo.commit(ref) != landing.old:
            return []
    for lock in locks:
        lock.unlink(missing_ok=True)
    # The commit may have been garbage-collected since. Then nobody can tell its files
    # from a person's.
    if repo.commit(landing.new) is None:
        return []
    try:
        return _undo(repo, folder, landing)
    except (GitFailed, OSError) as error:
        raise EnvironmentBroken(
            f"a landing that failed cannot be undone in {folder}: {error}",
            "the work is kept; when the cause is gone, run again",
        ) from error


def _wait_for_git(folder: Path) -> None:
    """Wait until no git process works in the folder. UsageProblem if one stays."""
    deadline = time.monotonic() + _MAX_WAIT
    while process_ids := _git_processes(folder):
        if time.monotonic() > deadline:
            raise UsageProblem(
                f"git is working in {folder} (process {process_ids[0]})",
                "let it end, then run again",
            )
        time.sleep(_POLL)


def _git_processes(folder: Path) -> list[int]:
    """The processes of git whose working folder is `folder` or below and which may hold
    these locks; none where the system does not show processes.
    """
    found = []
    folder = folder.resolve()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "comm").read_text().strip() != "git":
                continue
            words = (process / "cmdline").read_bytes().split(b"\0")
            if _HARMLESS.intersection(words):
                continue
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append(int(process.name))
    return found


def _undo(repo: Repository, folder: Path, landing: Landing) -> list[str]:
    """Give the landing's paths in `folder` their old content back; return those that
    hold neither the old content nor any that the landing wrote.
    """
    old = landing.old
    occupied = landing.occupied or ()
    changes = repo.changes(old, landing.new)
    changes = [change for change in changes if change.path not in occupied]
    # First the index, so that `git status` and the next merge see the old state.
    repo.git.run(
        [
            *("-C", str(folder), "reset", "-q", old),
            *("--pathspec-from-file=-", "--pathspec-file-nul"),
        ],
        env={"GIT_LITERAL_PATHSPECS": "1"},
        stdin=b"\0".join(os.fsencode(change.path) for change in changes),
    )
    present = _entries_on_disk(repo, folder, [change.path for change in changes])
    different = []
    # New files first: a file may have become a folder.
    for change in sorted(changes, key=lambda change: change.old is not None):
        entry = present[change.path]
        if entry == change.old:
            continue
        if entry == change.new or _is_half_written(repo, folder, change, landing):
            _restore(repo, folder, change, old)
        else:
            different.append(change.path)
    return sorted(different)


def _is_half_written(
    repo: Repository, folder: Path, change: Change, landing: Landing
) -> bool:
    """Whether git was writing the path when it ended: the old file is gone, and the new
    one is not there or holds the beginning of its content.
    """
    path = folder / change.path
    if not os.path.lexists(path):
        return change.old is not None
    if path.is_symlink() or change.new is None:
        return False
    # Nobody can tell whether a new file was there before.
    if change.old is None and landing.occupied is None:
        return False
    if path.is_dir():
        # git made it for files in it that are gone by now
        return change.old is not None and not any(path.iterdir())
    name = f"{landing.new}:{change.path}"
    content = repo.git.run(["cat-file", "--filters", name])
    size = path.stat().st_size
    return size < len(content) and content.startswith(path.read_bytes())


def _restore(repo: Repository, folder: Path, change: Change, old: str) -> None:
    """Give the changed path in `folder` its content of commit `old`, or delete it."""
    path = folder / change.path
    if change.old is None:
        path.unlink(missing_ok=True)
        _remove_empty_parents(path, folder)
        return
    repo.git.run(
        ["-C", str(folder), "checkout", "-q", old, "--", change.path],
        # A file named `*.py` is only that file.
        env={"GIT_LITERAL_PATHSPECS": "1"},
    )


def _remove_empty_parents(path: Path, folder: Path) -> None:
    with suppress(OSError):
        for parent in path.parents:
            if parent == folder:
                return
            parent.rmdir()


def _entries_on_disk(
    repo: Repository, folder: Path, paths: Sequence[str]
) -> dict[str, tuple[str, str] | None]:
    """(mode, object id) of the file at each path; None if there is no file."""
    entries: dict[str, tuple[str, str] | None] = dict.fromkeys(paths)
    together = []
    for path in paths:
        file = folder / path
        if file.is_symlink() or "\n" in path:
            entries[path] = _entry_on_disk(repo, file)
        elif file.is_file():
            together.append(path)
    if together:
        names = "".join(f"{folder / path}\n" for path in together)
        argv = ["hash-object", "--stdin-paths"]
        ids = repo.git.text(argv, stdin=os.fsencode(names)).split()
        for path, object_id in zip(together, ids, strict=True):
            entries[path] = _mode(folder / path), object_id
    return entries


def _entry_on_disk(repo: Repository, path: Path) -> tuple[str, str] | None:
    """(mode, object id) of the file at `path`; None if it does not exist."""
    if path.is_symlink():
        target = os.fsencode(path.readlink())
        return SYMLINK, repo.git.text(["hash-object", "--stdin"], stdin=target).strip()
    if not path.is_file():
        return None
    return _mode(path), repo.git.text(["hash-object", "--", str(path)]).strip()


def _mode(path: Path) -> str:
    return EXECUTABLE if os.access(path, os.X_OK) else REGULAR


def _git_dir(repo: Repository, folder: Path) -> Path:
    """The work tree's own git directory."""
    if folder == repo.root:
        return repo.own_git_dir
    argv = ["-C", str(folder), "rev-parse", "--absolute-git-dir"]
    return Path(repo.git.text(argv).strip())
