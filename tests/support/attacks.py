"""A batch whose results are made by hand, one task for each hostile thing, beside one
task that did its work.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner import pipeline
from runner.attempt.context import AttemptContext
from runner.config.settings import load, read_settings_file
from runner.core import result_folder
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Result
from runner.fan_in.inputs import BatchResults
from runner.fan_in.outcome import FanIn
from runner.plan.snapshot import read_snapshot
from runner.policy.redaction import NONE, Secrets
from runner.repo.repository import Repository
from tests.support.project import Project

ATTACKS = Path(__file__).parents[1] / "resources" / "attacks"
PACKS: Mapping[str, Mapping[str, str]] = json.loads(
    (ATTACKS / "packs.json").read_text()
)
DOCUMENTS: Mapping[str, str] = json.loads((ATTACKS / "documents.json").read_text())
TIME = "2026-01-02T03:04:05.000Z"


@dataclass
class Batch:
    """The manifest of tasks GOOD and one for each name, with GOOD's result in place."""

    repo: Repository
    manifest: Manifest
    results: Path

    @classmethod
    def of(cls, project: Project, names: list[str], folder: Path) -> Batch:
        project.plan(
            [
                {"id": "GOOD", "do": ["write good: good"]},
                *({"id": name} for name in names),
            ]
        )
        settings = load({}, {}, read_settings_file(project.root))
        repo = Repository(project.root, os.environ)
        head = repo.commit("HEAD")
        assert head
        snapshot = read_snapshot(
            repo, head, settings.plan, settings.progress, settings.task_rules
        )
        manifest = pipeline.next_batch(
            snapshot,
            settings,
            pipeline.BatchRequest(run="r", round_number=1, branch="main", slots=1_000),
        )
        assert manifest
        batch = cls(repo, manifest, folder / "results")
        (folder / "scratch").mkdir(parents=True)
        pipeline.run_task(
            manifest,
            manifest.entries[0],
            origin=repo.origin,
            results=batch.results,
            scratch=folder / "scratch",
            attempt_context=AttemptContext(os.environ),
        )
        return batch

    def entry(self, name: str) -> BatchEntry:
        return next(entry for entry in self.manifest.entries if entry.task.id == name)

    def folder(self, name: str) -> Path:
        entry = self.entry(name)
        folder = self.results / entry.folder
        begun = result_folder.Attempt(
            batch=self.manifest.batch, task=name, attempt=1, started=TIME
        )
        result_folder.begin(folder, begun)
        return folder

    def whole(self, name: str, tree: str) -> Result:
        return Result(
            batch=self.manifest.batch,
            manifest=self.manifest.digest,
            task=name,
            attempt=1,
            base=self.manifest.base,
            started=TIME,
            finished=TIME,
            agent="a",
            succeeded=True,
            tree=tree,
            pack="change.pack",
        )

    def leave_pack(self, name: str, data: bytes, tree: str) -> None:
        folder = self.folder(name)
        (folder / result_folder.PACK).write_bytes(data)
        result_folder.finish(folder, self.whole(name, tree))

    def leave_document(self, name: str, text: str) -> None:
        rest = json.loads(
            self.whole(name, "0" * 40).model_dump_json(exclude={"tree", "pack"})
        )
        mine = {key for key in rest if f'"{key}":' in text.partition("$REST")[0]}
        left = json.dumps(
            {key: value for key, value in rest.items() if key not in mine}
        )[1:-1]
        data = text.replace("$REST", left)
        folder = self.folder(name)
        (folder / result_folder.PACK).write_bytes(b"")
        (folder / result_folder.RESULT).write_bytes(
            data.encode("utf-16" if name == "utf-16" else "utf-8")
        )

    def fan_in(self, secrets: Secrets = NONE) -> FanIn:
        results = BatchResults(self.manifest, self.results, secrets=secrets)
        return pipeline.merge_batch(self.repo, results, self.manifest.base)
