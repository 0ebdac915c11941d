"""Finds work that an agent left outside of its checkout's files: on a branch of its own,
on a detached HEAD, in stashes, in a work tree beside the checkout.

The agent's `.git` is read as files. Its configuration runs code, so git never works
there: objects are linked into the attempt's own folder, which fanin's git reads.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runner.attempt.capture import add_folder
from runner.attempt.captured_tree import append_pack
from runner.attempt.workspace import Workspace
from runner.core import durable
from runner.core.errors import GitFailed

_MAX_REFS = 1_000
_MAX_BYTES = 2**20  # of a file of refs
_MAX_TIPS = 20  # each costs a few git processes
_OBJECT_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_OBJECT_FILE = re.compile(
    r"[0-9a-f]{2}/[0-9a-f]{38,62}|pack/pack-[0-9a-f]+\.(?:pack|idx)"
)


class Tip(NamedTuple):
    """Work with a name for people; `commit` is None if it was not committed."""

    name: str
    commit: str | None
    tree: str = ""
    is_stash: bool = False


class Detours(NamedTuple):
    """`result` is the work to take if the checkout's files have not changed, `others`
    is work to keep. `problems` are sentences.
    """

    result: Tip | None = None
    others: tuple[Tip, ...] = ()
    problems: tuple[str, ...] = ()


def find(workspace: Workspace, tree: str | None, max_bytes: int) -> Detours:
    """The work outside of the captured `tree`, None if that is the base's.

    Work that would make more than `max_bytes` to keep is a problem instead.
    """
    try:
        return _find(workspace, tree, max_bytes)
    except PermissionError as error:
        problem = (
            f"the agent's repository cannot be read ({error.strerror}): commits that "
            "are not in the checkout's files are lost"
        )
        return Detours(problems=(problem,))


def _find(workspace: Workspace, tree: str | None, max_bytes: int) -> Detours:
    git_dir = workspace.checkout / ".git"
    if git_dir.is_symlink() or not git_dir.is_dir():
        return Detours()
    if (git_dir / "reftable").exists():
        problem = (
            "the agent's repository keeps its refs in the reftable format, which fanin "
            "does not read: commits that are not in the checkout's files are lost"
        )
        return Detours(problems=(problem,))
    refs = _refs(git_dir)
    head_text = _read(git_dir, "HEAD").strip()
    head = refs.get(head_text.removeprefix("ref: "), head_text)
    tips = _tips(git_dir, refs, head_text, workspace.base)
    folders, problems = _work_trees(workspace, git_dir)
    if tree is not None and not folders and all(tip.commit == head for tip in tips):
        return Detours(problems=problems)
    if not tips and not folders:
        return Detours(problems=problems)
    if len(tips) > _MAX_TIPS:
        problems += (f"only {_MAX_TIPS} of {len(tips)} branches and stashes are read",)
    _link_objects(git_dir / "objects", workspace.objects)
    detours = _sorted(workspace, tree, head, tips[:_MAX_TIPS], folders, problems)
    return _limited(workspace, detours, max_bytes)


def _sorted(
    workspace: Workspace,
    tree: str | None,
    head: str,
    tips: list[Tip],
    folders: list[Path],
    problems: tuple[str, ...],
) -> Detours:
    """Leave out what the captured tree contains, and choose the result."""
    base_tree = _tree_of(workspace, workspace.base)
    captured = tree or base_tree
    left: list[Tip] = []
    for tip in tips:
        assert tip.commit is not None
        tip_tree = _tree_of(workspace, tip.commit)
        if tip.is_stash and tip_tree is not None:
            tip_tree = _with_untracked_files(workspace, tip.commit, tip_tree)
        if tip_tree is None:
            problems += (f"{tip.name} cannot be read",)
        elif tip_tree != captured and not _is_contained(workspace, tip, tree, head):
            left.append(tip._replace(tree=tip_tree))
    left, too_large = _readable(workspace, left)
    problems += too_large
    left = [tip for tip in left if not _is_below_another(workspace, tip, left)]
    for folder in folders:
        name = f"the work tree {folder.name}"
        folder_tree, lacking = _capture_folder(workspace, folder, name)
        problems += lacking
        known = {captured, base_tree, *(tip.tree for tip in left)}
        if folder_tree is not None and folder_tree not in known:
            left.append(Tip(name, None, folder_tree))
    work = [tip for tip in left if not tip.is_stash]
    if tree is None and len(work) == 1 and work[0].commit is not None:
        result = work[0]
        if _is_ancestor(workspace, workspace.base, work[0].commit):
            others = tuple(tip for tip in left if tip is not result)
            return Detours(result, others, problems)
    return Detours(None, tuple(left), problems)


def _readable(
    workspace: Workspace, tips: list[Tip]
) -> tuple[list[Tip], tuple[str, ...]]:
    """The tips that git may read, and sentences about those that are too large."""
    max_bytes = workspace.limits.max_bytes
    if max_bytes is None:
        return tips, ()
    readable = []
    problems: tuple[str, ...] = ()
    for tip in tips:
        size = _new_bytes(workspace, tip.tree)
        if size <= max_bytes:
            readable.append(tip)
        else:
            problems += (f"{tip.name} is not kept: it has {size:,} new bytes",)
    return readable, problems


def _limited(workspace: Workspace, detours: Detours, max_bytes: int) -> Detours:
    """Leave out of the work to keep what makes it too large."""
    kept: list[Tip] = []
    problems = detours.problems
    remaining = max_bytes
    for tip in detours.others:
        size = _new_bytes(workspace, tip.tree)
        if size > remaining:
            problem = (
                f"{tip.name} is not kept: its {size:,} new bytes exceed what is left "
                f"of {max_bytes:,}"
            )
            problems += (problem,)
            continue
        remaining -= size
        kept.append(tip)
    return detours._replace(others=tuple(kept), problems=problems)


def _new_bytes(workspace: Workspace, tree: str) -> int:
    """The size of all objects that the tree has and the base has not, not packed."""
    git = workspace.git
    revisions = f"{tree}\n^{workspace.base}^{{tree}}\n".encode()
    argv = ["rev-list", "--objects", "--no-object-names", "--stdin"]
    new = git.run(argv, stdin=revisions)
    sizes = git.text(["cat-file", "--batch-check=%(objectsize)"], stdin=new)
    return sum(int(size) for size in sizes.split())


def _with_untracked_files(workspace: Workspace, commit: str, tree: str) -> str | None:
    """The stash's tree with the files of `git stash -u`, which its third parent has;
    None if that cannot be read.
    """
    untracked = _tree_of(workspace, f"{commit}^3")
    if untracked is None:
        return tree
    git = workspace.git.with_env(
        {"GIT_INDEX_FILE": str(workspace.folder / "detour.index")}
    )
    try:
        git.run(["read-tree", tree])
        entries = git.run(["ls-tree", "-r", "-z", untracked])
        git.run(["update-index", "-z", "--index-info"], stdin=entries)
        return git.text(["write-tree"]).strip()
    except GitFailed:
        return None


def _is_contained(workspace: Workspace, tip: Tip, tree: str | None, head: str) -> bool:
    """Whether the checkout's files were made on top of the tip's commit."""
    if tip.is_stash or tip.commit is None:
        return False
    # The files are the base's again, so they have nothing of what HEAD names.
    if tree is None and tip.commit == head:
        return False
    return _is_ancestor(workspace, tip.commit, head)


def _is_below_another(workspace: Workspace, tip: Tip, tips: list[Tip]) -> bool:
    if tip.is_stash or tip.commit is None:
        return False
    for other in tips:
        if other.is_stash or other.commit in {None, tip.commit}:
            continue
        if _is_ancestor(workspace, tip.commit, other.commit or ""):
            return True
    return False


def _tips(git_dir: Path, refs: dict[str, str], head_text: str, base: str) -> list[Tip]:
    """The commits that are named, except for the base; each once."""
    tips: dict[str, Tip] = {}
    if _OBJECT_ID.fullmatch(head_text):
        tips[head_text] = Tip("the detached HEAD", head_text)
    for ref, commit in sorted(refs.items()):
        if ref.startswith("refs/heads/"):
            name = f"branch {ref.removeprefix('refs/heads/')}"
            tips.setdefault(commit, Tip(name, commit))
    for folder in _folders(git_dir / "worktrees"):
        text = _read(git_dir, f"worktrees/{folder.name}/HEAD").strip()
        if _OBJECT_ID.fullmatch(text):
            name = f"the detached HEAD of the work tree {folder.name}"
            tips.setdefault(text, Tip(name, text))
    stashes = []
    for line in _read(git_dir, "logs/refs/stash").splitlines():
        words = line.split(" ")
        if len(words) > 1 and _OBJECT_ID.fullmatch(words[1]):
            stashes.append(words[1])
    if "refs/stash" in refs:
        stashes.append(refs["refs/stash"])
    # the newest first, as `git stash list` counts
    for number, commit in enumerate(dict.fromkeys(reversed(stashes))):
        tips.setdefault(commit, Tip(f"stash@{{{number}}}", commit, is_stash=True))
    tips.pop(base, None)
    return list(tips.values())


def _refs(git_dir: Path) -> dict[str, str]:
    """Branches and stash → commit; a loose ref wins over a packed one."""
    refs: dict[str, str] = {}
    for line in _read(git_dir, "packed-refs").splitlines():
        commit, _, name = line.partition(" ")
        if _OBJECT_ID.fullmatch(commit) and name.startswith("refs/"):
            refs[name] = commit
    for name in [*_loose_names(git_dir), "refs/stash"]:
        text = _read(git_dir, name).strip()
        if _OBJECT_ID.fullmatch(text):
            refs[name] = text
    return refs


def _loose_names(git_dir: Path) -> Iterator[str]:
    count = 0
    for parent, _, names in os.walk(git_dir / "refs" / "heads"):
        for name in names:
            count += 1
            if count > _MAX_REFS:
                return
            yield str((Path(parent) / name).relative_to(git_dir))


def _read(git_dir: Path, name: str) -> str:
    """The text of a file below the git directory, "" if it is no regular file there."""
    file = git_dir / name
    with suppress(OSError):
        # no part of the path may lead elsewhere
        if file.resolve() != git_dir.resolve() / name:
            return ""
        if not stat.S_ISREG(file.lstat().st_mode):
            return ""
        with file.open("rb") as stream:
            return stream.read(_MAX_BYTES).decode("utf-8", "replace")
    return ""


def _folders(folder: Path) -> list[Path]:
    with suppress(OSError):
        if folder.is_symlink():
            return []
        entries = sorted(folder.iterdir())[:_MAX_TIPS]
        return [each for each in entries if each.is_dir() and not each.is_symlink()]
    return []


def _work_trees(
    workspace: Workspace, git_dir: Path
) -> tuple[list[Path], tuple[str, ...]]:
    """The linked work trees beside the checkout, and sentences about those that are not
    followed: a path may name another attempt's checkout or a person's home.
    """
    own, checkout = workspace.folder.resolve(), workspace.checkout.resolve()
    folders = []
    problems: tuple[str, ...] = ()
    for entry in _folders(git_dir / "worktrees"):
        text = _read(git_dir, f"worktrees/{entry.name}/gitdir").strip()
        try:
            folder = (git_dir / text).resolve().parent
            if not text or not folder.is_dir():
                continue
        except (OSError, ValueError, RuntimeError):
            continue
        if folder.is_relative_to(checkout):
            continue  # named as a repository inside the repository
        if folder.is_relative_to(own) and folder != own:
            folders.append(folder)
        else:
            problem = (
                f"the work tree {entry.name} is outside of the attempt's folder, so "
                "files in it that are not committed are not kept"
            )
            problems += (problem,)
    return folders, problems


def _link_objects(source: Path, target: Path) -> None:
    """Link the agent's objects into the attempt's own folder of objects, without the
    files that name other folders.
    """
    for folder in _folders_of_objects(source):
        for file in sorted(folder.iterdir()):
            name = f"{folder.name}/{file.name}"
            is_regular = stat.S_ISREG(file.lstat().st_mode)
            if not is_regular or not _OBJECT_FILE.fullmatch(name):
                continue
            (target / folder.name).mkdir(exist_ok=True)
            with suppress(OSError):
                os.link(file, target / name, follow_symlinks=False)


def _folders_of_objects(source: Path) -> list[Path]:
    if source.is_symlink() or not source.is_dir():
        return []
    folders = []
    for folder in sorted(source.iterdir()):
        if folder.is_dir() and not folder.is_symlink():
            folders.append(folder)
    return folders


def _tree_of(workspace: Workspace, commit: str) -> str | None:
    argv = ["rev-parse", "--verify", "-q", f"{commit}^{{tree}}"]
    done = workspace.git.run_unchecked(argv)
    return done.stdout.decode().strip() if done.status == 0 else None


def _is_ancestor(workspace: Workspace, commit: str, of: str) -> bool:
    if not _OBJECT_ID.fullmatch(of):
        return False
    return workspace.git.status(["merge-base", "--is-ancestor", commit, of]) == 0


def _capture_folder(
    workspace: Workspace, folder: Path, name: str
) -> tuple[str | None, tuple[str, ...]]:
    """The tree of the folder's files, None if git cannot read them, and sentences about
    what it lacks.
    """
    env = {
        "GIT_WORK_TREE": str(folder),
        "GIT_INDEX_FILE": str(workspace.capture / "detour.index"),
    }
    git = workspace.git.with_env(env)._replace(cwd=folder)
    try:
        git.run(["read-tree", workspace.base])
        left_out = add_folder(git, workspace.limits.max_bytes, workspace.base)
        tree = git.text(["write-tree"]).strip()
    except GitFailed:
        return None, (f"{name} cannot be read",)
    if not left_out:
        return tree, ()
    return tree, (f"{name} is not kept whole: {left_out[0]}",)


def write_bundle(workspace: Workspace, tips: list[Tip], file: Path) -> None:
    """Write the work to a git bundle, durably: a commit on the base for each, on the
    branches `1`, `2` and so on.

    Only its files, not the agent's commits: those may hold what nobody has searched.
    """
    git = workspace.git
    lines, commits = [], []
    for number, tip in enumerate(tips, start=1):
        argv = ["commit-tree", tip.tree, "-p", workspace.base, "-m", "kept work"]
        commit = git.text(argv).strip()
        commits.append(commit)
        lines.append(f"{commit} refs/heads/{number}\n")
    header = "# v2 git bundle\n"
    if workspace.object_format == "sha256":
        header = "# v3 git bundle\n@object-format=sha256\n"
    header += f"-{workspace.base}\n{''.join(lines)}\n"
    revisions = "".join(f"{commit}\n" for commit in commits) + f"^{workspace.base}\n"
    with suppress(OSError):
        file.unlink(missing_ok=True)
    with file.open("xb") as stream:
        stream.write(header.encode())
        append_pack(workspace, revisions, stream)
    durable.sync_files([file, file.parent])
