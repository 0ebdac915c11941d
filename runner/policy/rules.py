"""What may enter the branch: pure rules over the paths a task changed.

Each refusal names task, path, rule and how to allow it. Source of the rules: git's own
`verify_path` (path components), gh-aw's safe outputs (protected files, patch limits),
DESIGN (Words, Fan-in).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.core.manifest import Limits
from runner.core.result import Failure, FailureKind
from runner.core.task import Task
from runner.policy import globs
from runner.policy.change import EXECUTABLE, GITLINK, REGULAR, SYMLINK, Change, Refusal
from runner.policy.paths import Spellings, leaves_tree, unusable_name

_NAMED = 5  # refusals written out in one message; the rest are counted


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

    `protected` globs are lifted by the task's `allow`, `never` globs by nothing.
    `spellings` are the names known so far, to find those that clash by case or Unicode
    form; what is let in is added to them. `filtered` are paths that the repository
    stores through a filter, such as Git LFS. `scope` "warn" lets changes outside the
    task's `files` in and adds a sentence for each to `warned`.
    """
    refusals = [
        refusal
        for change in changes
        for refusal in _of_path(task, change, protected, never)
    ]
    refusals += _too_much(changes, limits)
    refusals += [
        Refusal(
            path,
            "is stored through a filter, which fanin does not run",
            "change it by hand",
        )
        for path in filtered
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
    kind = (
        FailureKind.SCOPE
        if all(refusal.scope for refusal in refusals)
        else FailureKind.POLICY
    )
    return Failure(
        kind=kind, message=f"{task.id} changed what it may not:\n{named}{more}"
    )


def leaked(task: Task, where: str, name: str) -> Failure:
    """The refusal of work that holds a secret; it tells where and whose value, never
    the value.
    """
    told = Refusal(
        where,
        f"holds the value of {name}",
        "take it out; a value that is not secret belongs in the setting env, not in agent.env",
    )
    return Failure(
        kind=FailureKind.POLICY, message=f"{task.id} changed what it may not:\n- {told}"
    )


def only_protected(task: Task, protected: Sequence[str], never: Sequence[str]) -> bool:
    """Whether every literal path in `files` is protected, so that the task could never
    land anything.
    """
    if not task.files:
        return False
    literal = [
        glob
        for glob in task.files
        if not glob.startswith("!") and not set(glob) & set("*?[")
    ]
    if len(literal) != len([glob for glob in task.files if not glob.startswith("!")]):
        return False
    return all(_protected(task, path.strip("/"), protected, never) for path in literal)


def may_meet(
    task: Task, paths: Iterable[str], protected: Sequence[str], never: Sequence[str]
) -> list[str]:
    """Those of the paths that the task's `files` match and that it would be refused for
    all the same.
    """
    if not task.files:
        return []
    return [
        path
        for path in paths
        if globs.matches(task.files, path)
        and _protected(task, path, protected, never) is not None
    ]


def _protected(
    task: Task, path: str, protected: Sequence[str], never: Sequence[str]
) -> Refusal | None:
    if globs.matches(never, path):
        return Refusal(path, "is fanin's own file", "no task may change it")
    if globs.matches(protected, path) and not (
        task.allow and globs.matches(task.allow, path)
    ):
        return Refusal(
            path,
            "is a protected path",
            f"add it to the task's allow: [{path!r}] if that is meant",
        )
    return None


def _of_path(
    task: Task, change: Change, protected: Sequence[str], never: Sequence[str]
) -> Iterable[Refusal]:
    reason = unusable_name(change.path)
    if reason and change.new is not None:
        yield Refusal(repr(change.path), reason, "no task may create it")
        return
    if refusal := _protected(task, change.path, protected, never):
        yield refusal
    elif task.files is not None and not globs.matches(
        (*task.files, *task.allow), change.path
    ):
        yield Refusal(
            change.path,
            "is outside the task's files",
            "widen files: of the task if that is meant",
            scope=True,
        )
    elif _only_flipped(change) and not globs.matches(
        (*(task.files or ()), *task.allow), change.path
    ):
        yield Refusal(
            change.path,
            f"had only its executable bit {'set' if change.new and change.new[0] == EXECUTABLE else 'taken'}",
            f"add it to the task's files: [{change.path!r}] if that is meant",
        )
    if GITLINK in {side[0] for side in (change.old, change.new) if side}:
        if change.old is None:
            yield Refusal(
                change.path,
                "is a repository inside the repository",
                "remove its .git folder",
            )
        elif not (task.allow and globs.matches(task.allow, change.path)):
            yield Refusal(
                change.path,
                "is a submodule",
                f"add it to the task's allow: [{change.path!r}] if that is meant",
            )
    yield from _of_link(change)


def _only_flipped(change: Change) -> bool:
    """Whether a file's executable bit changed and nothing else: a `chmod -R` or a
    foreign file system, mostly.
    """
    if change.old is None or change.new is None or change.old[1] != change.new[1]:
        return False
    return {change.old[0], change.new[0]} == {REGULAR, EXECUTABLE}


def escaping(task: Task, merged: Sequence[Change]) -> Failure | None:
    """The refusal of a merge whose symlinks leave the tree: a link that one task moved
    and another pointed anew.
    """
    refusals = [refusal for change in merged for refusal in _of_link(change)]
    if not refusals:
        return None
    named = "\n".join(f"- {refusal}" for refusal in refusals[:_NAMED])
    return Failure(
        kind=FailureKind.POLICY,
        message=f"{task.id}, once merged, changes what it may not:\n{named}",
    )


def _of_link(change: Change) -> Iterable[Refusal]:
    if change.new is None or change.new[0] != SYMLINK or change.target is None:
        return
    if leaves_tree(change.path, change.target):
        yield Refusal(
            change.path,
            f"is a symlink out of the repository, to {change.target!r}",
            "link inside it",
        )


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
