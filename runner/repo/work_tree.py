"""Work trees that a person has checked out: unfinished operations and dirty files, and
moving a branch together with its files.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from runner.core import durable
from runner.policy.change import EXECUTABLE, REGULAR, SYMLINK, Change
from runner.repo import ref_update
from runner.repo.ref_update import Reason, RefUpdate
from runner.repo.repository import Repository

# files in a work tree's git directory → the unfinished operation that leaves them
_UNFINISHED = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "BISECT_LOG": "bisect",
}
# seconds to wait while another program, such as a prompt, holds the index's lock
_LOCK_WAITS = (0.1, 0.3, 1.0, 3.0)


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


def dirty_paths(repo: Repository, folder: Path) -> list[str]:
    """Tracked paths whose content, mode or stage differs from HEAD.

    Changes inside submodules are ignored.
    """
    argv = [
        *("-C", str(folder), "status", "--porcelain=v1", "-z", "--no-renames"),
        *("--untracked-files=no", "--ignore-submodules=dirty"),
    ]
    # status refreshes the index otherwise; a git that dies then leaves index.lock
    output = repo.git.run(argv, env={"GIT_OPTIONAL_LOCKS": "0"})
    # two letters and a space come before the path
    return [os.fsdecode(line[3:]) for line in output.split(b"\0") if line]


def land(repo: Repository, branch: str, old: str, new: str) -> RefUpdate:
    """Move the branch from `old` to `new`, and its files where it is checked out, as
    `git merge --ff-only` would.

    Untracked files, ignored ones too, are never overwritten. They and dirty tracked
    files are a reason to refuse.
    """
    ref = f"refs/heads/{branch}"
    head = repo.commit(ref)
    if head != old:
        return ref_update.LANDED if head == new else ref_update.MOVED
    folder = checked_out_at(repo, branch)
    if folder is None:
        if repo.set_ref(ref, new, old):
            return ref_update.LANDED
        if repo.commit(ref) != old:
            return ref_update.MOVED
        return ref_update.refusal("", Reason.OTHER)
    durable.checkpoint("before landing")
    message = _fast_forward(repo, folder, new)
    durable.checkpoint("after landing")
    head = repo.commit(ref)
    if head == new:
        return ref_update.LANDED
    if head != old:
        return ref_update.MOVED
    return ref_update.refusal(message, Reason.OBSTACLE)


def _fast_forward(repo: Repository, folder: Path, new: str) -> str:
    """Fast-forward the checkout in `folder` to `new`; return git's messages."""
    # --no-squash: the user's merge options for the branch may say otherwise.
    # --no-overwrite-ignore: git would otherwise overwrite ignored files.
    argv = [
        *("-C", str(folder), "merge", "-q", "--ff-only", "--no-squash"),
        *("--no-overwrite-ignore", new),
    ]
    done = repo.git.run_unchecked(argv)
    for seconds in _LOCK_WAITS:
        if done.status == 0 or "index.lock" not in done.stderr:
            break
        # an editor or prompt asks git for the status at this moment
        time.sleep(seconds)
        done = repo.git.run_unchecked(argv)
    return done.stderr


def undo_interrupted(repo: Repository, branch: str, old: str, new: str) -> list[str]:
    """Undo a landing whose process died before the branch moved, so that it can be done
    again.

    A killed fast-forward leaves the old HEAD, some new files and `index.lock`. Paths
    with exactly the new content get the old one back. Returns those that hold something
    else, which are left alone.
    """
    folder = checked_out_at(repo, branch)
    if folder is None or repo.commit(f"refs/heads/{branch}") != old:
        return []
    # The process that held these locks is dead: only one fanin lands at a time.
    git_dir = _git_dir(repo, folder)
    for lock in (
        git_dir / "index.lock",
        git_dir / "HEAD.lock",
        repo.git_dir / f"refs/heads/{branch}.lock",
    ):
        lock.unlink(missing_ok=True)
    # The commit may have been garbage-collected since. Then nobody can tell its files
    # from a person's.
    if repo.commit(new) is None:
        return []
    # First the index, so that `git status` and the next merge see the old state.
    changes = repo.changes(old, new)
    repo.git.run(
        [
            *("-C", str(folder), "reset", "-q", old),
            *("--pathspec-from-file=-", "--pathspec-file-nul"),
        ],
        env={"GIT_LITERAL_PATHSPECS": "1"},
        stdin=b"\0".join(os.fsencode(change.path) for change in changes),
    )
    different = []
    for change in changes:
        present = _entry_on_disk(repo, folder / change.path)
        if present == change.old:
            continue
        if present == change.new:
            _restore(repo, folder, change, old)
        else:
            different.append(change.path)
    return different


def _restore(repo: Repository, folder: Path, change: Change, old: str) -> None:
    """Give the changed path in `folder` its content of commit `old`, or delete it."""
    if change.old is None:
        (folder / change.path).unlink(missing_ok=True)
        return
    repo.git.run(
        ["-C", str(folder), "checkout", "-q", old, "--", change.path],
        # A file named `*.py` is only that file.
        env={"GIT_LITERAL_PATHSPECS": "1"},
    )


def _entry_on_disk(repo: Repository, path: Path) -> tuple[str, str] | None:
    """(mode, object id) of the file at `path`; None if it does not exist."""
    if path.is_symlink():
        target = os.fsencode(path.readlink())
        return SYMLINK, repo.git.text(["hash-object", "--stdin"], stdin=target).strip()
    if not path.is_file():
        return None
    mode = EXECUTABLE if os.access(path, os.X_OK) else REGULAR
    return mode, repo.git.text(["hash-object", "--", str(path)]).strip()


def _git_dir(repo: Repository, folder: Path) -> Path:
    """The work tree's own git directory."""
    argv = ["-C", str(folder), "rev-parse", "--absolute-git-dir"]
    return Path(repo.git.text(argv).strip())
