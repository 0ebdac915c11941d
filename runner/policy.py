"""What may enter the branch: pure rules over the paths a task changed.

Each refusal names task, path, rule and how to allow it. Source of the rules: git's own `verify_path`
(path components), gh-aw's safe outputs (protected files, patch limits), DESIGN (Words, Fan-in).
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runner import patterns
from runner.models import Failure, FailureKind, Limits, Task

REGULAR, EXECUTABLE, SYMLINK, GITLINK = "100644", "100755", "120000", "160000"
_NAMED = 5  # refusals written out in one message; the rest are counted


@dataclass(frozen=True)
class Change:
    """One path a task changed. `old`/`new` are (mode, object id), None where the path is absent.

    `size` is the new blob's in bytes, `target` where a new symlink points.
    """

    path: str
    old: tuple[str, str] | None
    new: tuple[str, str] | None
    size: int = 0
    target: str | None = None


@dataclass(frozen=True)
class Refusal:
    path: str
    rule: str
    remedy: str
    scope: bool = False  # outside the task's own `files`, as against forbidden to every task

    def __str__(self) -> str:
        return f"{self.path}: {self.rule} ({self.remedy})"


def check(
    task: Task,
    changes: Sequence[Change],
    *,
    protected: Sequence[str],
    never: Sequence[str],
    limits: Limits,
    spellings: Spellings | None = None,
    filtered: Sequence[str] = (),
    scope: str = "fail",
    warned: list[str] | None = None,
) -> Failure | None:
    """None when all changes may land, else the failure that lists what may not.

    `protected` globs are lifted by the task's `allow`, `never` globs by nothing. `spellings` are the names known so
    far, to find those that clash by case or Unicode form; what is let in is added to them. `filtered` are paths that
    the repository stores through a filter, such as Git LFS. `scope` "warn" lets changes outside the task's `files` in
    and adds a sentence for each to `warned`.
    """
    refusals = [refusal for change in changes for refusal in _of_path(task, change, protected, never)]
    refusals += _too_much(changes, limits)
    refusals += [
        Refusal(path, "is stored through a filter, which fanin does not run", "change it by hand") for path in filtered
    ]
    if spellings is not None:
        refusals += spellings.clashes(changes)
    if scope == "warn":
        outside = [str(refusal) for refusal in refusals if refusal.scope]
        refusals = [refusal for refusal in refusals if not refusal.scope]
        if warned is not None:
            warned += [f"{task.id} changed {told}" for told in outside]
    if not refusals:
        if spellings is not None:
            spellings.add(change.path for change in changes if change.new is not None)
        return None
    named = "\n".join(f"- {refusal}" for refusal in refusals[:_NAMED])
    more = f"\n- and {len(refusals) - _NAMED} more" if len(refusals) > _NAMED else ""
    kind = FailureKind.SCOPE if all(refusal.scope for refusal in refusals) else FailureKind.POLICY
    return Failure(kind=kind, message=f"{task.id} changed what it may not:\n{named}{more}")


def leaked(task: Task, where: str, name: str) -> Failure:
    """The refusal of work that holds a secret; it tells where and whose value, never the value."""
    told = Refusal(
        where,
        f"holds the value of {name}",
        "take it out; a value that is not secret belongs in the setting env, not in agent.env",
    )
    return Failure(kind=FailureKind.POLICY, message=f"{task.id} changed what it may not:\n- {told}")


def only_protected(task: Task, protected: Sequence[str], never: Sequence[str]) -> bool:
    """Whether every literal path in `files` is protected, so that the task could never land anything."""
    if not task.files:
        return False
    literal = [glob for glob in task.files if not glob.startswith("!") and not set(glob) & set("*?[")]
    if len(literal) != len([glob for glob in task.files if not glob.startswith("!")]):
        return False
    return all(_protected(task, path.strip("/"), protected, never) for path in literal)


def may_meet(task: Task, paths: Iterable[str], protected: Sequence[str], never: Sequence[str]) -> list[str]:
    """Those of the paths that the task's `files` match and that it would be refused for all the same."""
    if not task.files:
        return []
    return [
        path
        for path in paths
        if patterns.matches(task.files, path) and _protected(task, path, protected, never) is not None
    ]


def _protected(task: Task, path: str, protected: Sequence[str], never: Sequence[str]) -> Refusal | None:
    if patterns.matches(never, path):
        return Refusal(path, "is fanin's own file", "no task may change it")
    if patterns.matches(protected, path) and not (task.allow and patterns.matches(task.allow, path)):
        return Refusal(path, "is a protected path", f"add it to the task's allow: [{path!r}] if that is meant")
    return None


def _of_path(task: Task, change: Change, protected: Sequence[str], never: Sequence[str]) -> Iterable[Refusal]:
    reason = unusable_name(change.path)
    if reason and change.new is not None:
        yield Refusal(repr(change.path), reason, "no task may create it")
        return
    if refusal := _protected(task, change.path, protected, never):
        yield refusal
    elif task.files is not None and not patterns.matches((*task.files, *task.allow), change.path):
        yield Refusal(
            change.path, "is outside the task's files", "widen files: of the task if that is meant", scope=True
        )
    elif _only_flipped(change) and not patterns.matches((*(task.files or ()), *task.allow), change.path):
        yield Refusal(
            change.path,
            f"had only its executable bit {'set' if change.new and change.new[0] == EXECUTABLE else 'taken'}",
            f"add it to the task's files: [{change.path!r}] if that is meant",
        )
    if GITLINK in {side[0] for side in (change.old, change.new) if side}:
        if change.old is None:
            yield Refusal(change.path, "is a repository inside the repository", "remove its .git folder")
        elif not (task.allow and patterns.matches(task.allow, change.path)):
            yield Refusal(
                change.path, "is a submodule", f"add it to the task's allow: [{change.path!r}] if that is meant"
            )
    yield from _of_link(change)


def _only_flipped(change: Change) -> bool:
    """Whether a file's executable bit changed and nothing else: a `chmod -R` or a foreign file system, mostly."""
    if change.old is None or change.new is None or change.old[1] != change.new[1]:
        return False
    return {change.old[0], change.new[0]} == {REGULAR, EXECUTABLE}


def escaping(task: Task, merged: Sequence[Change]) -> Failure | None:
    """The refusal of a merge whose symlinks leave the tree: a link that one task moved and another pointed anew."""
    refusals = [refusal for change in merged for refusal in _of_link(change)]
    if not refusals:
        return None
    named = "\n".join(f"- {refusal}" for refusal in refusals[:_NAMED])
    return Failure(kind=FailureKind.POLICY, message=f"{task.id}, once merged, changes what it may not:\n{named}")


def _of_link(change: Change) -> Iterable[Refusal]:
    if change.new is None or change.new[0] != SYMLINK or change.target is None:
        return
    if leaves_tree(change.path, change.target):
        yield Refusal(change.path, f"is a symlink out of the repository, to {change.target!r}", "link inside it")


def _too_much(changes: Sequence[Change], limits: Limits) -> Iterable[Refusal]:
    size = sum(change.size for change in changes)
    if len(changes) > limits.files:
        yield Refusal(
            "(all paths)",
            f"{len(changes)} files changed, more than limits.files = {limits.files}",
            "raise the limit in fanin.yml or split the task",
        )
    if size > limits.size:
        yield Refusal(
            "(all paths)",
            f"{size:,} bytes changed, more than limits.size = {limits.size:,}",
            "raise the limit in fanin.yml or split the task",
        )


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_IGNORABLE = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")  # HFS+ ignores these: git's utf8.c
_WINDOWS_GIT = re.compile(r"(?:\.git|git~\d+)[\s.]*(?::.*)?", re.IGNORECASE)


def unusable_name(path: str) -> str | None:
    """Why no checkout can safely hold `path`, or None. Source: git's verify_path, HFS and NTFS rules included."""
    if _CONTROL.search(path):
        return "has a control character in its name"
    for part in path.split("/"):
        if part in {"", ".", ".."}:
            return "is no plain relative path"
        for piece in part.split("\\"):
            if _WINDOWS_GIT.fullmatch(_IGNORABLE.sub("", piece)):
                return "names a .git folder"
    return None


def leaves_tree(path: str, target: str) -> bool:
    """Whether a symlink at `path` to `target` may lead outside the repository, or into a .git folder.

    `..` is taken at the start only, where it is counted from the link's real folder. After a name it could go up from
    wherever another link led, so a chain of links could climb out; without it no chain of such links can.
    """
    if target.startswith("/") or "\\" in target or _CONTROL.search(target):
        return True
    parts = [part for part in target.split("/") if part not in {"", "."}]
    up = next((place for place, part in enumerate(parts) if part != ".."), len(parts))
    if up > path.count("/") or ".." in parts[up:]:
        return True
    resolved = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return resolved != "." and unusable_name(resolved) is not None


def _folded(path: str) -> str:
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


class Spellings:
    """Names of files and folders, to find those that differ by case or Unicode form only.

    Such names are one file on macOS and Windows: the checkout of either loses one of the two.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._known: dict[str, str] = {}
        self._names: set[str] = set()
        self.add(paths)

    def add(self, paths: Iterable[str]) -> None:
        for path in paths:
            for name in _prefixes(path):
                if name in self._names:  # and so are the folders above it
                    break
                self._names.add(name)
                self._known.setdefault(_folded(name), name)

    def clashes(self, changes: Sequence[Change]) -> Iterable[Refusal]:
        """Refusals for added paths; a name that the same change removes is free again."""
        gone = {change.path for change in changes if change.new is None}
        own: dict[str, str] = {}
        for path in sorted(change.path for change in changes if change.old is None and change.new is not None):
            for name in _prefixes(path):
                folded = _folded(name)
                other = next(
                    (o for o in (self._known.get(folded), own.get(folded)) if o not in {None, name} | gone), None
                )
                own.setdefault(folded, name)
                if other is not None:
                    yield Refusal(path, f"differs from {other} only by case or Unicode form", "use one spelling")
                    break


def _prefixes(path: str) -> Iterable[str]:
    yield path
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
