"""The rules for what a task may change, over the paths between two trees.

Sources of the rules: git's own `verify_path` for names, and gh-aw's safe outputs for
protected files and limits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice, product

from runner.core.limits import Limits
from runner.core.plurals import pluralize
from runner.core.result import Failure, FailureKind
from runner.core.task import Task
from runner.policy import globs
from runner.policy.change import EXECUTABLE, GITLINK, REGULAR, SYMLINK, Change, Refusal
from runner.policy.git_files import Fault, is_git_file
from runner.policy.paths import (
    SIDE_FILES,
    Spellings,
    leaves_tree,
    long_name,
    one_spelling,
    shortened,
    unusable_name,
)

_ANY_NAME = "\0"  # no pattern has it
_MAX_LONG_NAMES = 1_000  # combinations of names that short names stand for
_MAX_LISTED = 5  # refusals written out in one message; the rest are counted


def check(
    task: Task,
    changes: Sequence[Change],
    *,
    protected: Sequence[str],
    never: Sequence[str],
    limits: Limits,
    spellings: Spellings | None = None,
    filtered: Sequence[str] = (),
    harmless: Collection[str] = (),
    scope: str = "fail",
    warned: list[str] | None = None,
) -> Failure | None:
    """None if all changes may land, else the failure that lists those that may not.

    - `protected`: globs that only the task's `allow` lifts; `never`: globs that nothing
      lifts.
    - `spellings`: the names in the tree, to find new ones that clash with them. The
      names of changes that may land are added to it.
    - `filtered`: paths that the repository stores through a filter, such as Git LFS.
    - `harmless`: paths that are not protected in these changes: see `git_files`.
    - `scope`: with "warn", changes outside the task's `files` may land, and a sentence
      for each is added to `warned`.
    """
    refusals = _all_refusals(
        task, changes, protected, never, limits, filtered, harmless
    )
    if spellings is not None:
        refusals += spellings.clashes(changes)
    if scope == "warn":
        if warned is not None:
            warned += [f"{task.id}: {refusal}" for refusal in refusals if refusal.scope]
        refusals = [refusal for refusal in refusals if not refusal.scope]
    if refusals:
        return _failure(refusals)
    if spellings is not None:
        spellings.add(change.path for change in changes if change.new is not None)
    return None


def leaked_secret(location: str, name: str) -> Failure:
    """The failure of work that holds the value of a secret.

    `location` is the path, or what else holds it, `name` that of the variable.
    """
    refusal = Refusal(
        location,
        f"holds the value of {name}",
        "remove it; a value that is not secret belongs in the setting env, "
        "not in agent.env",
    )
    return Failure(kind=FailureKind.POLICY, message=str(refusal))


def escaping_links(merged: Sequence[Change]) -> Failure | None:
    """The failure of a merge with symlinks that leave the tree, else None.

    Each of two tasks may be in order alone: one moves a link, the other changes where
    it points.
    """
    refusals = [refusal for change in merged for refusal in _link_refusals(change)]
    if not refusals:
        return None
    return _failure(refusals)


def left_out(
    task: Task,
    changes: Sequence[Change],
    *,
    protected: Sequence[str],
    never: Sequence[str],
    limits: Limits,
    faults: Mapping[str, Fault | None],
) -> list[Refusal]:
    """The refused changes that the others may land without; none if all would go.

    That is what an agent wrote beside its task: a file that the task itself is about is
    refused with all the rest. `faults` has what `git_files` says of its files.
    """
    if len(changes) > limits.files:  # refused in any case
        return []
    refusals = []
    harmless = [path for path, fault in faults.items() if fault is None]
    for change in changes:
        refusal = _protection(task, change.path, protected, never, harmless)
        if refusal is None or _is_needed(task, change, never, faults):
            continue
        reason = refusal.reason
        if fault := faults.get(change.path):
            reason = f"is a protected path, and the change {fault.reason}"
        refusals.append(Refusal(change.path, reason, refusal.remedy))
    left = {refusal.path for refusal in refusals}
    remaining = [change.path for change in changes if change.path not in left]
    if not remaining or _nested(left, remaining):
        return []
    return refusals


def _is_needed(
    task: Task,
    change: Change,
    never: Sequence[str],
    faults: Mapping[str, Fault | None],
) -> bool:
    """Whether a protected change is refused together with the rest."""
    path = change.path
    fault = faults.get(path)
    if fault is None and not _matches_in_any_spelling(SIDE_FILES, path):
        return True
    if fault is not None and fault.needed:
        return True
    modes = [side[0] for side in (change.old, change.new) if side is not None]
    if GITLINK in modes or _matches_in_any_spelling(never, path):
        return True
    if _is_named_by(task.files or (), path):
        return True
    # ".claude", of .claude/settings.json
    texts = f"{task.title}\n{task.prompt}"
    return any(name in texts for name in path.split("/") if _may_be_meant(name))


def _may_be_meant(name: str) -> bool:
    return is_git_file(name) or _matches_in_any_spelling(SIDE_FILES, name)


def _nested(paths: Collection[str], others: Iterable[str]) -> bool:
    """Whether one of the paths is a folder above one of the others, or below one."""
    folders = {f"{path}/" for path in paths}
    for other in others:
        if any(path.startswith(f"{other}/") for path in paths):
            return True
        if any(other.startswith(folder) for folder in folders):
            return True
    return False


def only_protected(task: Task, protected: Sequence[str], never: Sequence[str]) -> bool:
    """Whether all of `files` are protected paths, so that nothing could ever land.

    False if a glob has a wildcard, because it may match other paths too, and for the
    files of git that may be changed in a harmless way.
    """
    paths = [glob for glob in task.files or () if not glob.startswith("!")]
    if not paths or any(set(path) & set("*?[") for path in paths):
        return False
    if any(is_git_file(path) and not _is_named_by(protected, path) for path in paths):
        return False
    return all(
        _protection(task, path.strip("/"), protected, never) is not None
        for path in paths
    )


def may_meet(
    task: Task, paths: Iterable[str], protected: Sequence[str], never: Sequence[str]
) -> list[str]:
    """The paths that the task's `files` match, but that it may not change."""
    if not task.files:
        return []
    matched = [path for path in paths if globs.matches(task.files, path)]
    return [
        path
        for path in matched
        if _protection(task, path, protected, never) is not None
    ]


def _failure(refusals: Sequence[Refusal]) -> Failure:
    # A protected path would be refused to every task, so that is the graver kind.
    kind = FailureKind.POLICY
    if all(refusal.scope for refusal in refusals):
        kind = FailureKind.SCOPE
    if len(refusals) == 1:
        return Failure(kind=kind, message=str(refusals[0]))
    # Status, tables and the end of a run show the first line only: it has a reason.
    first, more = refusals[0], len(refusals) - 1
    lines = [f"{first}, and {pluralize(more, 'more change')} may not land:"]
    lines += [f"- {refusal}" for refusal in refusals[1:_MAX_LISTED]]
    if len(refusals) > _MAX_LISTED:
        lines.append(f"- and {len(refusals) - _MAX_LISTED} more")
    return Failure(kind=kind, message="\n".join(lines))


def _all_refusals(
    task: Task,
    changes: Sequence[Change],
    protected: Sequence[str],
    never: Sequence[str],
    limits: Limits,
    filtered: Sequence[str],
    harmless: Collection[str],
) -> list[Refusal]:
    refusals: list[Refusal] = []
    # More than the limit are refused in any case: no need to look at each.
    for change in changes[: limits.files]:
        refusals += _path_refusals(task, change, protected, never, harmless)
    refusals += _size_refusals(changes, limits)
    for path in filtered:
        reason = "is stored through a filter, which fanin does not run"
        refusals.append(Refusal(path, reason, "change it by hand"))
    return refusals


def _path_refusals(
    task: Task,
    change: Change,
    protected: Sequence[str],
    never: Sequence[str],
    harmless: Collection[str],
) -> Iterable[Refusal]:
    name_problem = unusable_name(change.path)
    if name_problem and change.new is not None:
        shown = repr(shortened(change.path))
        yield Refusal(shown, name_problem, "no task may create it")
        return
    # Only the first of these: each makes the next pointless.
    refusal = (
        _protection(task, change.path, protected, never, harmless)
        or _outside_files(task, change)
        or _executable_bit(task, change)
    )
    if refusal:
        yield refusal
    if refusal := _submodule(task, change):
        yield refusal
    yield from _link_refusals(change)


def _protection(
    task: Task,
    path: str,
    protected: Sequence[str],
    never: Sequence[str],
    harmless: Collection[str] = (),
) -> Refusal | None:
    if _matches_in_any_spelling(never, path):
        return Refusal(path, "is fanin's own file", "no task may change it")
    if path in harmless and not _is_named_by(protected, path):
        return None
    if _matches_in_any_spelling(protected, path) and not allows(task, path, protected):
        return Refusal(path, "is a protected path", _add_to("allow"))
    return None


def allows(task: Task, path: str, protected: Sequence[str]) -> bool:
    """Whether the task's `allow` lifts the protection of `path`.

    A glob without a slash means a name in any folder. Into a protected folder it does
    not reach: `docs.yml` is not meant to allow a new `.github/workflows/docs.yml`.
    """
    if not _is_allowed(task, path):
        return False
    protected_at = _protected_at(path, protected)
    if protected_at == path:
        return True
    counted = [
        glob
        for glob in task.allow
        if "/" in glob.rstrip("/")
        or glob.startswith("!")
        or globs.matches([glob], protected_at)
    ]
    return globs.matches(counted, path)


def _protected_at(path: str, protected: Sequence[str]) -> str:
    """The highest folder above `path` in which all is protected; `path` without one."""
    names = path.split("/")
    for count in range(1, len(names)):
        folder = "/".join(names[:count])
        if _matches_in_any_spelling(protected, f"{folder}/{_ANY_NAME}"):
            return folder
    return path


def _is_named_by(patterns: Iterable[str], path: str) -> bool:
    """Whether one of the globs names the path itself, without a wildcard."""
    plain = [glob for glob in patterns if not set(glob) & set("*?[!")]
    return globs.matches(plain, path)


def _matches_in_any_spelling(patterns: Sequence[str], path: str) -> bool:
    """Whether the globs match the path, or what macOS or Windows takes it for."""
    if globs.matches(patterns, path):
        return True
    spelled, path = _in_one_spelling(tuple(patterns)), one_spelling(path)
    if globs.matches(spelled, path):
        return True
    return any(globs.matches(spelled, name) for name in _long_names(spelled, path))


def _long_names(patterns: tuple[str, ...], path: str) -> Iterable[str]:
    """The paths that Windows may take `path` for: with names of the globs in place of
    their short names.
    """
    if "~" not in path:
        return
    known = {name for glob in patterns for name in glob.split("/")}
    choices = []
    for part in path.split("/"):
        meant = {name for glob in known if (name := long_name(part, glob))}
        choices.append(sorted(meant) or [part])
    for parts in islice(product(*choices), _MAX_LONG_NAMES):
        yield "/".join(parts)


@lru_cache(maxsize=64)
def _in_one_spelling(patterns: tuple[str, ...]) -> tuple[str, ...]:
    # A class of capitals such as [A-Z] becomes one of small letters, as the path does.
    return tuple(one_spelling(pattern) for pattern in patterns)


def _outside_files(task: Task, change: Change) -> Refusal | None:
    if task.files is None or _is_named(task, change.path):
        return None
    return Refusal(
        change.path,
        "is outside the task's files",
        _add_to("files"),
        scope=True,
    )


def _executable_bit(task: Task, change: Change) -> Refusal | None:
    """The refusal of a file of which only the executable bit changed.

    That is mostly a `chmod -R`, or a file system that has no such bit.
    """
    if change.old is None or change.new is None:
        return None
    (old_mode, old_id), (new_mode, new_id) = change.old, change.new
    if old_id != new_id or {old_mode, new_mode} != {REGULAR, EXECUTABLE}:
        return None
    if _is_named(task, change.path):
        return None
    verb = "set" if new_mode == EXECUTABLE else "cleared"
    reason = f"had only its executable bit {verb}"
    return Refusal(change.path, reason, _add_to("files"))


def _submodule(task: Task, change: Change) -> Refusal | None:
    modes = [side[0] for side in (change.old, change.new) if side is not None]
    if GITLINK not in modes:
        return None
    if change.old is None:
        reason = "is a repository inside the repository"
        return Refusal(change.path, reason, "remove its .git folder")
    if _is_allowed(task, change.path):
        return None
    return Refusal(change.path, "is a submodule", _add_to("allow"))


def _link_refusals(change: Change) -> Iterable[Refusal]:
    if change.new is None or change.new[0] != SYMLINK or change.target is None:
        return
    if leaves_tree(change.path, change.target):
        reason = f"is a symlink out of the repository, to {change.target!r}"
        yield Refusal(
            change.path, reason, "make it point to a path inside the repository"
        )


def _size_refusals(changes: Sequence[Change], limits: Limits) -> Iterable[Refusal]:
    remedy = "raise the limit in fanin.yml or split the task"
    size = sum(change.size for change in changes)
    if len(changes) > limits.files:
        count = len(changes)
        reason = f"{count} files changed, more than limits.files = {limits.files}"
        yield Refusal("", reason, remedy)
    if size > limits.size:
        reason = f"{size:,} bytes changed, more than limits.size = {limits.size:,}"
        yield Refusal("", reason, remedy)


def _is_allowed(task: Task, path: str) -> bool:
    return bool(task.allow) and globs.matches(task.allow, path)


def _is_named(task: Task, path: str) -> bool:
    return globs.matches((*(task.files or ()), *task.allow), path)


def _add_to(field: str) -> str:
    return f"add it to the task's {field} if the task should change it"
