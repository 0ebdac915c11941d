"""Writes the marks of tasks into a plan. What was read of it for that is kept: a run
writes marks at every landing, mostly into what it has written itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from runner.plan import formats
from runner.plan.formats import Mark, Options, Tree
from runner.plan.formats.base import Marker
from runner.plan.trees import RecordingTree


class PlanFiles(NamedTuple):
    """Which plan it is: its format, where it is and how it is read."""

    source: str
    path: str
    options: Options

    @property
    def key(self) -> tuple[str, ...]:
        pairs = sorted(self.options.items())
        return (self.source, self.path, *(part for pair in pairs for part in pair))


class _KeptMarker(NamedTuple):
    """A marker, and all that was read for it, as it is with what has been written."""

    marker: Marker
    files: RecordingTree


_kept: dict[tuple[str, ...], _KeptMarker] = {}
_MAX_KEPT = 4
# Plans of which the marks that were written last may have changed more than their tasks.
_changed: set[tuple[str, ...]] = set()


def write_marks(
    plan: PlanFiles, tree: Tree, marks: Mapping[str, Mark]
) -> Mapping[str, str]:
    """As `Source.write_back`. If the files are what was written last, they are not read
    anew.
    """
    # Nobody else has it meanwhile: marks may be written in several threads.
    kept = _kept.pop(plan.key, None)
    if kept is None or not kept.files.matches(tree):
        kept = _read(plan, tree)
    if kept is None:
        return write_once(plan, tree, marks)
    written = kept.marker.write(marks)
    _changed.discard(plan.key)
    if not kept.marker.is_current:
        _changed.add(plan.key)
    else:
        kept.files.write(written)
        _kept[plan.key] = kept
        if len(_kept) > _MAX_KEPT:
            _kept.pop(next(iter(_kept)), None)
    return written


def is_as_read(plan: PlanFiles) -> bool:
    """Whether the marks that were written last have changed no other task of the plan, so
    that reading it anew says nothing new.
    """
    return not formats.changes_with_marks(plan.source) and plan.key not in _changed


def write_once(
    plan: PlanFiles, tree: Tree, marks: Mapping[str, Mark]
) -> Mapping[str, str]:
    """The same for marks that no other follow."""
    source = formats.get_source(plan.source)
    return source.write_back(plan.path, tree, marks, plan.options)


def _read(plan: PlanFiles, tree: Tree) -> _KeptMarker | None:
    """None if the format has no marker."""
    make = getattr(formats.get_source(plan.source), "marker", None)
    if make is None:
        return None
    files = RecordingTree(tree)
    marker = make(plan.path, files, plan.options)
    files.close()
    return _KeptMarker(marker, files)
