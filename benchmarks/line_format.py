"""A plan format of another package: a line is a task, `[ ] T1 What to do`.

It writes marks, and has the three methods that a format must have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.core.task import Plan, Status, Task
from runner.plan.formats import ENTRY_POINT_GROUP
from runner.plan.formats.base import Mark, Options, Tree

_DONE, _OPEN = "[x] ", "[ ] "


class Lines:
    """See `runner.plan.formats.base.Source`."""

    name = "lines"
    options: Mapping[str, Sequence[str]] = {}

    def detect(self, path: str, tree: Tree) -> bool:
        return path.endswith(".lines")

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        tasks = []
        for line in (tree.read(path) or "").splitlines():
            task_id, _, title = (
                line.removeprefix(_DONE).removeprefix(_OPEN).partition(" ")
            )
            status = Status.COMPLETED if line.startswith(_DONE) else Status.PENDING
            tasks.append(Task(id=task_id, title=title, source_status=status))
        return Plan(path=path, source=self.name, tasks=tuple(tasks))

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        lines = (tree.read(path) or "").splitlines(keepends=True)
        for index, line in enumerate(lines):
            text = line[len(_OPEN) :]
            mark = marks.get(text.partition(" ")[0])
            if mark is not None:
                box = _DONE if mark.status is Status.COMPLETED else _OPEN
                lines[index] = box + text
        return {path: "".join(lines)}


def install(folder: Path) -> None:
    """Make the format known to programs that have the folder on their Python path."""
    info = folder / "lines-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lines\nVersion: 1.0\n")
    entry = f"[{ENTRY_POINT_GROUP}]\nlines = {__name__}:{Lines.__name__}\n"
    (info / "entry_points.txt").write_text(entry)
