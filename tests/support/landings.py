"""Batches that landed on a branch, made without agents: each task is a tree that it left,
merged as the fan-in merges, with progress and marks.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.core.task import PlanSettings
from runner.fan_in import landing_record
from runner.fan_in.undo import Landed, Step, changes_by_task
from runner.fan_in.union import Candidate, unite
from runner.plan.progress import Progress
from runner.plan.snapshot import NO_RULES, Snapshot, read_snapshot, write_progress_blobs
from runner.policy.change import REGULAR
from runner.repo.repository import Repository
from tests.support.builders import entry, manifest, result, task

PLAN = PlanSettings(path="TODO.md")
PROGRESS = ".fanin/progress.json"
OWN = (PLAN.path, PROGRESS)
Files = Mapping[str, tuple[str, bytes]]


class Branch:
    """A branch in a throw-away repository; `head` is its last commit."""

    def __init__(self, root: Path) -> None:
        subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
        self.repo = Repository(root, os.environ)
        self._blobs: dict[bytes, str] = {}
        self.empty = self.repo.git.text(["mktree"], stdin=b"").strip()

    def start(self, files: Files, tasks: Sequence[str]) -> None:
        """A first commit of the files and a check list of the tasks."""
        todo = "".join(f"- [ ] {name}: do it\n" for name in tasks)
        tree = self.tree({**files, PLAN.path: (REGULAR, todo.encode())})
        self.first = self.head = self.repo.commit_tree(tree, [], "start")

    def tree(self, files: Files) -> str:
        blobs = {path: (mode, self._blob(data)) for path, (mode, data) in files.items()}
        return self.repo.write_tree(self.empty, blobs)

    def _blob(self, data: bytes) -> str:
        if data not in self._blobs:
            self._blobs[data] = self.repo.write_blob(data)[1]
        return self._blobs[data]

    def snapshot(self, commit: str | None = None) -> Snapshot:
        head = commit or self.head
        return read_snapshot(self.repo, head, PLAN, PROGRESS, NO_RULES)

    def own_tree(self, files: Files) -> str:
        """The tree of a task that left these files and did not touch fanin's."""
        objects = self.repo.objects()
        head = self.repo.tree(self.head)
        own = {path: objects.find(head, path) for path in OWN}
        return self.repo.write_tree(
            self.tree(files), {path: blob for path, blob in own.items() if blob}
        )

    def merged(self, trees: Mapping[str, str]) -> dict[str, str]:
        """Task → the head's tree once it is merged; those that conflict are not in it."""
        base = self.repo.tree(self.head)
        candidates = [
            Candidate(
                entry(task(name), index=number),
                tree,
                tuple(self.repo.changes(base, tree)),
            )
            for number, (name, tree) in enumerate(trees.items())
        ]
        outcomes = unite(base, base, candidates, self.repo, tree_per_task=False)
        return {each.entry.task.id: each.tree for each in outcomes if each.tree}

    def land(self, trees: Mapping[str, str]) -> tuple[str, Landed]:
        """Land the tasks that merge as one batch; its commit, and what it brought."""
        repo, base = self.repo, self.repo.tree(self.head)
        merged = self.merged(trees)
        after = list(merged.values())[-1] if merged else base
        steps = tuple(Step(name, base, trees[name]) for name in merged)
        snapshot = self.snapshot()
        progress = snapshot.progress.with_every_task(snapshot.plan.tasks)
        for name in merged:
            progress = self._completed(snapshot, progress, name, base, trees[name])
        with repo.quarantine() as quarantine:
            blobs = write_progress_blobs(quarantine, snapshot, progress, PROGRESS)
            tree = quarantine.write_tree(after, blobs)
            commit = quarantine.commit_tree(tree, [self.head], "batch")
            landed = Landed(base, after, steps)
            record = landing_record.write(quarantine, landed)
            quarantine.adopt([commit, record], [self.head])
        changed = {name: progress.records[name].changed for name in merged}
        changes = repo.changes(base, after)
        if changes_by_task(changes, changed) is None:
            assert repo.set_ref(landing_record.name(commit), record)
        self.head = commit
        return commit, landed

    def _completed(
        self, snapshot: Snapshot, progress: Progress, task_id: str, base: str, tree: str
    ) -> Progress:
        one = entry(task(task_id))
        lines = self.repo.diffstats(base, [tree])[0]
        done = result(manifest(one), one)
        return progress.after_success(snapshot.graph.tasks[task_id], done, lines)

    def without_own(self, tree: str) -> str:
        """The tree without fanin's files."""
        objects = self.repo.objects()
        tree = self.repo.tree(tree)
        own = [path for path in OWN if objects.find(tree, path)]
        return self.repo.write_tree(tree, dict.fromkeys(own))
