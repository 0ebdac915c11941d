"""What must be on the disk before what, by the system calls of whole runs.

SIGKILL does not show a missing fsync: the kernel still has what was written. The table
of these orders is in docs/reliability.md.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.core.manifest import Manifest
from tests.support import crashes, sync_trace
from tests.support.project import Project
from tests.support.sync_trace import Call, Check, Disk

WRITES = {"write", "rename", "renameat", "renameat2", "link", "linkat", "unlink"}
# As strace writes a line of the run about the end of an attempt.
# The start of an event with files.
KEPT = re.compile(
    r'\\"event\\": \\"files\\", \\"run\\": \\"([^"\\]+)\\", '
    r'\\"round\\": (\d+), \\"folder\\": \\"(\d*)\\"'
)
ENDED = re.compile(r"^1<.*\\342\\234(?:\\224|\\230) ([ABC]) ")


class Orders:
    """A check for each row of the table; `seen` has those whose moment has come."""

    def __init__(self, root: Path) -> None:
        self.seen: set[str] = set()
        self._has_changes = False
        self._root = str(root)
        self._git = f"{root}/.git"
        self._journal = f"{self._git}/fanin/journal.jsonl"
        # task → the folder of its result, the name of its workspace
        self._attempts: dict[str, tuple[str, str]] = {}
        # the files that the journal has, since its next fsync and already
        self._to_sync: set[str] = set()
        self._in_journal: set[str] = set()
        for file in root.glob(".git/fanin/runs/*/*/manifest.json"):
            manifest = Manifest.model_validate_json(file.read_bytes())
            for entry in manifest.entries:
                folder = file.parent / entry.folder
                workspace = f"{manifest.batch}-{entry.folder}"
                self._attempts[entry.task.id] = (str(folder), workspace)

    def checks(self) -> dict[str, Check]:
        return {
            "manifest and journal before a result": self._batch_before_result,
            "a result before it is reported": self._result_before_report,
            "a result before its checkout goes": self._result_before_removal,
            "objects before a ref that names them": self._objects_before_ref,
            "the journal before a landing": self._journal_before_landing,
            "refs before the journal says so": self._refs_before_journal,
            "what a request changes before it goes": self._changes_before_removal,
        }

    def _batch_before_result(self, disk: Disk, call: Call) -> list[str]:
        target = call.paths[-1] if call.paths else ""
        if not call.name.startswith("rename") or not target.endswith("/result.json"):
            return []
        self.seen.add("manifest and journal before a result")
        manifest = str(Path(target).parents[1] / "manifest.json")
        assert manifest in disk.known
        if manifest in self._in_journal:  # and the event before it
            return self._lacks(disk, manifest)
        return disk.lacks(manifest) + disk.lacks(self._journal)

    def _lacks(self, disk: Disk, path: str) -> list[str]:
        """What would be lost of a file that the journal may have."""
        if path not in self._in_journal:
            return disk.lacks(path)
        # What other threads have written there since is no matter.
        later = f"the content of {self._journal}"
        return [lost for lost in disk.lacks(self._journal) if lost != later]

    def _result_before_report(self, disk: Disk, call: Call) -> list[str]:
        ended = ENDED.match(call.text) if call.name == "write" else None
        if ended is None:
            return []
        self.seen.add("a result before it is reported")
        return self._lacking_result(disk, ended[1])

    def _result_before_removal(self, disk: Disk, call: Call) -> list[str]:
        if call.name not in {"unlink", "unlinkat"}:
            return []
        for task, (_, workspace) in self._attempts.items():
            # its folder has another name by then
            path = call.paths[0]
            if f"/{workspace}/" in path and path.endswith("/README.md"):
                self.seen.add("a result before its checkout goes")
                return self._lacking_result(disk, task)
        return []

    def _lacking_result(self, disk: Disk, task: str) -> list[str]:
        folder, _ = self._attempts[task]
        lost = []
        names = ["result.json", "change.pack"]
        if task == "A":
            names.append("detours.bundle")
        for name in names:
            path = f"{folder}/{name}"
            if path not in disk.known:
                lost.append(f"{path} is not there")
            lost += self._lacks(disk, path)
        return lost

    def note_kept_files(self, _: Disk, call: Call) -> list[str]:
        """No check: take down what is written to the journal, and when that is synced."""
        if not call.paths or call.paths[0] != self._journal:
            return []
        if call.name in {"fsync", "fdatasync"}:
            self._in_journal |= self._to_sync
            self._to_sync.clear()
        if call.name == "write":
            for run, number, folder in KEPT.findall(call.text):
                batch = f"{self._git}/fanin/runs/{run}/{number}"
                inner = f"{batch}/{folder}"
                files = [f"{inner}/result.json", f"{inner}/change.pack"]
                self._to_sync.update(files if folder else [f"{batch}/manifest.json"])
        return []

    def _objects_before_ref(self, disk: Disk, call: Call) -> list[str]:
        target = call.paths[-1] if call.paths else ""
        if not call.name.startswith("rename") or "/refs/" not in target:
            return []
        if not target.startswith(self._git):
            return []
        self.seen.add("objects before a ref that names them")
        folder = f"{self._git}/objects/"
        return [
            f"{path}, before {target}"
            for path in sorted(disk.written | disk.named)
            if path.startswith(folder)
        ]

    def _journal_before_landing(self, disk: Disk, call: Call) -> list[str]:
        target = call.paths[-1] if call.paths else ""
        is_file = target.startswith(f"{self._root}/") and not target.startswith(
            self._git
        )
        if not is_file or not (call.made or call.name in WRITES):
            return []
        self.seen.add("the journal before a landing")
        return disk.lacks(self._journal)

    def _refs_before_journal(self, disk: Disk, call: Call) -> list[str]:
        if call.name != "write" or call.paths[0] != self._journal:
            return []
        if not re.search(r"fanned-in|waiting|flushed|failed|recorded", call.text):
            return []
        self.seen.add("refs before the journal says so")
        refs = (f"{self._git}/refs/heads/", f"{self._git}/refs/fanin/kept/")
        lost = []
        for path in sorted(disk.known):
            if path.startswith(refs):
                lost += disk.lacks(path)
        return lost

    def _changes_before_removal(self, disk: Disk, call: Call) -> list[str]:
        if call.name == "write" and call.paths[0] == self._journal:
            self._has_changes |= '"requested' in call.text.replace("\\", "")
        if call.name != "unlink" or not _is_request(call):
            return []
        self.seen.add("what a request changes before it goes")
        if not self._has_changes:
            return [f"{call.paths[0]} goes before the journal has what it changes"]
        return disk.lacks(self._journal)

    def request_before_report(self, disk: Disk, call: Call) -> list[str]:
        if call.name == "write" and "recorded: " in call.text:
            self.seen.add("a request before the command says so")
            requests = [path for path in disk.known if "/requests/0" in path]
            assert requests
            return [line for path in requests for line in disk.lacks(path)]
        return []


def _is_request(call: Call) -> bool:
    path = call.paths[0] if call.paths else ""
    return "/fanin/requests/" in path and path.endswith(".json")


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_what_must_be_durable_before_what(
    project: Project, tmp_path: Path, schedule: str
) -> None:
    # The work of A and D lands first; that of C waits because a file is in its way.
    # Not of README.md, whose removal shows that a checkout goes.
    stash = ["write aside: x", "git stash -q -u"]
    tasks: list[dict[str, Any]] = [
        {"id": "A", "do": [*stash, "write a: a"]},
        {"id": "B", "do": ["write b: b", "fail late"], "max_attempts": 1},
        {"id": "C", "do": ["write c: c"], "depends_on": ["A", "D"]},
        {"id": "D", "do": ["write d: d"]},
        {"id": "E", "do": ["write e: e"]},
    ]
    project.plan(tasks, schedule=schedule, max_concurrent=2)
    project.write("c", "in the way\n")
    crashes.ask_to_skip(project, "E")
    disk = Disk.of(project.root)
    log = tmp_path / "calls"
    said = sync_trace.trace(
        [sys.executable, "-m", "runner", "run"],
        project.root,
        log,
        PYTHONPATH=str(crashes.ROOT),
    )
    assert "finished work waits on" in said, said
    orders = Orders(project.root)
    checks = orders.checks()
    noting = {"": orders.note_kept_files}
    lost = sync_trace.broken(log, disk, noting | checks)
    assert lost == {name: [] for name in noting | checks}
    assert orders.seen == set(checks)
    table = (crashes.ROOT / "docs" / "reliability.md").read_text()
    assert [name for name in checks if f"\n| {name} |" not in table] == []


def test_a_request_is_durable_before_the_command_says_so(
    project: Project, tmp_path: Path
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    journal = project.runner().journal
    journal.record("run", run="r1", branch="main", scratch=None)
    log = tmp_path / "calls"
    command = [sys.executable, "-m", "runner", "skip", "A"]
    with journal.locked():
        disk = Disk.of(project.root)
        sync_trace.trace(command, project.root, log, PYTHONPATH=str(crashes.ROOT))
    orders = Orders(project.root)
    name = "a request before the command says so"
    said = sync_trace.broken(log, disk, {name: orders.request_before_report})
    assert said == {name: []}
    assert name in orders.seen


def test_objects_that_a_command_writes_are_durable_before_the_ref(
    project: Project, tmp_path: Path
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    disk = Disk.of(project.root)
    log = tmp_path / "calls"
    command = [sys.executable, "-m", "runner", "skip", "A"]
    shown = sync_trace.trace(command, project.root, log, PYTHONPATH=str(crashes.ROOT))
    assert shown.startswith("skip: A"), shown
    orders = Orders(project.root)
    name = "objects before a ref that names them"
    said = sync_trace.broken(log, disk, {name: orders.checks()[name]})
    assert said == {name: []}
    assert name in orders.seen
