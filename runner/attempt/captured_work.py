"""What an attempt leaves: its work becomes a tree and a pack, and what git cannot take, or
the agent did elsewhere, is kept beside the result.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runner.attempt import (
    capture,
    capture_directory,
    captured_tree,
    detours,
    sizes,
    workspace,
)
from runner.attempt.context import Attempt
from runner.core import result_folder
from runner.core.errors import GitFailed
from runner.core.result import Failure, FailureKind
from runner.policy import rules

_MAX_LEFT_OUT = 5  # paths that a message names
_MAX_KEPT_FACTOR = 4  # limits.size times this is the most that is kept beside a result
# Seconds for each git command on what an agent left. A file that is too large is never
# given to git, and the rest takes it a minute even in a checkout of a million files.
_CAPTURE_SECONDS = 600.0
# Seconds for the list of changed paths once a capture was stopped.
_LIST_SECONDS = 5.0


class CapturedWork(NamedTuple):
    """The captured work: its tree, None if it equals the base's, and why it may not be
    merged.
    """

    tree: str | None
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()
    holds_secret: bool = False


def capture_work(attempt: Attempt) -> CapturedWork:
    """Capture the agent's work and write its pack. What git cannot take is kept in an
    archive.

    Work with a secret is not packed: the result folder is uploaded. GitFailed if the
    checkout is gone.
    """
    limits = attempt.workspace.limits
    limits = limits._replace(
        timeout=_CAPTURE_SECONDS,
        max_bytes=sizes.FACTOR * attempt.manifest.limits.size,
    )
    attempt = attempt._replace(workspace=attempt.workspace._replace(limits=limits))
    _open_to_owner(attempt.workspace.checkout)
    try:
        return _capture(attempt)
    except GitFailed as error:
        if not workspace.is_there(attempt.workspace.checkout):
            raise
        kept = _archive(attempt, _changed_paths(attempt))
        message = f"git cannot capture the checkout: {error.stderr}; {kept}"
        kind = FailureKind.ENVIRONMENT
        if limits.cancel is not None and limits.cancel.is_set():
            kind = FailureKind.INTERRUPTED
        return CapturedWork(None, Failure(kind=kind, message=message))


def _open_to_owner(checkout: Path) -> None:
    """Undo what an agent may have done to the rights of the checkout itself."""
    if not workspace.is_there(checkout):
        return
    mode = stat.S_IMODE(checkout.stat().st_mode)
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        checkout.chmod(mode | stat.S_IRWXU)


def _changed_paths(attempt: Attempt) -> list[str]:
    """The paths to keep if git cannot capture the checkout; `.` is all of it."""
    try:
        changed = capture.changed_paths(attempt.workspace, _LIST_SECONDS)
    except GitFailed:
        return ["."]
    checkout = attempt.workspace.checkout
    included = attempt.workspace.included
    own = [path for path in changed if not included.covers(path)]
    return [path for path in own if os.path.lexists(checkout / path)]


def _capture(attempt: Attempt) -> CapturedWork:
    attempt_workspace = attempt.workspace
    # git looks for secrets, and for the markers that a retry may have left
    is_read = bool(attempt.secrets) or attempt.entry.start is not None
    captured = capture.capture(attempt_workspace, is_read=is_read)
    warnings, failure = _left_out(attempt, captured)
    tree = captured.tree
    max_bytes = _MAX_KEPT_FACTOR * attempt.manifest.limits.size
    outside = detours.find(attempt_workspace, tree, max_bytes)
    sentences = _keep_detours(attempt, outside)
    if outside.result is not None:
        tree = capture.without_included(attempt_workspace, outside.result.tree)
        warnings += (f"the result is the agent's {outside.result.name}",)
        if attempt.entry.verify is not None and tree is not None:
            capture_directory.check_out(attempt_workspace, tree)
    elif tree is None and (outside.others or outside.problems):
        message = f"the checkout has no changes, but {sentences}"
        failure = failure or Failure(kind=FailureKind.NO_CHANGE, message=message)
        sentences = ""
    if sentences:
        warnings += (sentences,)
    if tree is None:
        return CapturedWork(None, failure, warnings)
    leak = captured_tree.first_secret(attempt_workspace, tree, attempt.secrets)
    if leak is not None:
        path, name = leak
        leaked = rules.leaked_secret(path, name)
        return CapturedWork(None, leaked, warnings, holds_secret=True)
    new_objects = captured.new_objects if tree == captured.tree else None
    pack = attempt.folder / result_folder.PACK
    captured_tree.write_pack(attempt_workspace, tree, pack, new_objects)
    return CapturedWork(tree, failure, warnings)


def _keep_detours(attempt: Attempt, outside: detours.Detours) -> str:
    """Keep the work outside of the result in a bundle, and say what and where; "" if
    there is none.
    """
    sentences = list(outside.problems)
    tips = []
    for tip in outside.others:
        if captured_tree.first_secret(attempt.workspace, tip.tree, attempt.secrets):
            sentences.append(f"{tip.name} holds a secret and is not kept")
        else:
            tips.append(tip)
    if tips:
        names = ", ".join(tip.name for tip in tips)
        bundle = attempt.folder / result_folder.BUNDLE
        try:
            detours.write_bundle(attempt.workspace, tips, bundle)
        except (GitFailed, OSError) as error:
            sentences.append(f"{names} cannot be kept: {error}")
        else:
            file = attempt.file_name(result_folder.BUNDLE)
            sentences.append(f"work outside of it is kept in {file}: {names}")
    return "; ".join(sentences)


def _left_out(
    attempt: Attempt, captured: capture.Capture
) -> tuple[tuple[str, ...], Failure | None]:
    """Keep what git could not take in an archive.

    Returns warnings that name it, and a failure unless the rest may land alone.
    """
    left_out = captured.left_out
    if not left_out:
        return (), None
    kept = _archive(attempt, [each.path for each in left_out])
    named = [str(each) for each in left_out[:_MAX_LEFT_OUT]]
    if len(left_out) > len(named):
        named.append(f"and {len(left_out) - len(named)} more")
    text = f"{'; '.join(named)}; {kept}"
    if captured.tree is not None and all(each.harmless for each in left_out):
        return (f"left out: {text}",), None
    is_known = all(each.is_known for each in left_out)
    kind = FailureKind.POLICY if is_known else FailureKind.ENVIRONMENT
    return (), Failure(kind=kind, message=f"this cannot land: {text}")


def _archive(attempt: Attempt, paths: Sequence[str]) -> str:
    """Keep these paths of the checkout, and say where."""
    # Late: few attempts leave what git cannot take.
    from runner.attempt import archive

    archived = archive.archive(
        attempt.workspace.checkout,
        paths,
        attempt.folder / result_folder.ARCHIVE,
        attempt.secrets,
        # all that a stopped capture would have taken
        sizes.FACTOR * attempt.manifest.limits.size,
    )
    missing = archived.missing[:_MAX_LEFT_OUT]
    if len(archived.missing) > len(missing):
        missing.append(f"{len(archived.missing) - len(missing)} more")
    lost = f"not kept: {', '.join(missing)}"
    if not archived.files:
        return lost if missing else "there is no file in it to keep"
    kept = f"kept in {attempt.file_name(result_folder.ARCHIVE)}"
    return f"{kept} ({lost})" if missing else kept
