"""The git directory and index outside of a checkout that its work is captured with.

Not with the checkout's own, because `core.fsmonitor` or a clean filter set in the agent's
`.git` would run code. They are made when the agent has ended: what is on the disk
earlier, every agent of the run can change.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.attempt.emptied_folders import move_capture
from runner.attempt.workspace import (
    Workspace,
    index_data,
    is_there,
    new_capture,
    write_index,
)
from runner.core.errors import GitFailed
from runner.core.folders import remove_folder
from runner.policy.change import GITLINK, Change
from runner.repo.command import Git


def capture_git(workspace: Workspace) -> Git:
    """The git that captures the checkout. Its git directory is made if it is not there."""
    if not is_there(workspace.checkout):
        raise GitFailed(["add", "-A"], 128, "the agent deleted its checkout")
    env = {"GIT_WORK_TREE": str(workspace.checkout)}
    git = workspace.git.with_env(env)._replace(cwd=workspace.checkout)
    if workspace.capture.is_dir():
        return git
    move_capture(workspace.capture, workspace.new_folder)
    workspace.seed.write_for_capture(workspace.capture)
    data = index_data(workspace)
    if data is None:
        # somebody changed it: git reads every file of the checkout again
        git.run(["read-tree", workspace.base])
    else:
        write_index(workspace.capture / "index", data, workspace.index_record.time)
    return git


@contextmanager
def starting(workspace: Workspace) -> Iterator[Workspace]:
    """The workspace with another git directory, for what is to be done before the agent
    starts. It is gone at the end.
    """
    before_agent = workspace._replace(capture=new_capture(workspace.folder))
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
    _copy_objects(workspace.objects, own / "objects")
    shutil.copy2(workspace.capture / "index", own / "index")


def _copy_objects(source: Path, target: Path) -> None:
    """Copy objects out of a git directory that is its own folder of objects."""
    for folder in source.iterdir():
        is_of_objects = folder.is_dir() and not folder.is_symlink()
        if is_of_objects and folder.name not in {"info", "refs"}:
            shutil.copytree(folder, target / folder.name, dirs_exist_ok=True)


def remove_file(checkout: Path, path: str) -> None:
    """Remove a file of the base, and the folders that are empty then."""
    with suppress(OSError):
        (checkout / path).unlink()
        for folder in Path(path).parents:
            if folder.name:
                (checkout / folder).rmdir()


def check_out(workspace: Workspace, tree: str) -> None:
    """Give the checkout the files of a captured tree."""
    capture_git(workspace).run(["read-tree", "--reset", "-u", tree])


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
