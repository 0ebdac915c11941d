"""One job of a run uploads a result under the name of another task's: it does not land."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.core import result_folder
from tests.support.github.forge import Forge
from tests.support.jobs import Job, Jobs
from tests.support.project import Project

RUN = 4711


@dataclass
class Round:
    """A round whose jobs may list the jobs of their run."""

    jobs: Jobs
    forge: Forge
    chosen: Job

    def leg(self, task_id: str) -> None:
        """Run the task's job, which uploads its result."""
        done = self.jobs.task(self.chosen, task_id)
        self.list(task_id, done.outputs["seal"])

    def list(self, task_id: str, seal: str) -> None:
        """List the task's job as GitHub does, with the step that uploads its result."""
        steps = [{"name": "Set up job"}, {"name": f"Upload result {seal}"}]
        name = f"fanin / round-1 / task {task_id}"
        job: dict[str, object] = {"name": name, "status": "completed", "steps": steps}
        self.forge.jobs_of_runs[RUN].append(job)

    def artifact(self, folder: str, run_attempt: int = 1) -> Path:
        name = result_folder.artifact_name(
            self.chosen.outputs["batch"], folder, 1, run_attempt
        )
        return self.jobs.artifacts / name

    def forge_result(self, source: Path, target: Path, **fields: object) -> None:
        """Upload a result made of another one."""
        shutil.copytree(source, target)
        document = json.loads((target / "result.json").read_text())
        (target / "result.json").write_text(json.dumps({**document, **fields}))

    def land(self, tmp_path: Path) -> Job:
        verdict = tmp_path / "verdict.json"
        assert self.jobs.verify(self.chosen, verdict).code == 0
        return self.jobs.merge(self.chosen, FANIN_VERDICT=str(verdict))

    def file(self, path: str) -> str | None:
        listed = self.jobs.git("ls-tree", "--name-only", "main").split()
        return self.jobs.git("show", f"main:{path}") if path in listed else None


@pytest.fixture
def one_round(project: Project, tmp_path: Path) -> Iterator[Round]:
    tasks = [
        {"id": name, "files": [name], "do": [f"write {name}: x"]} for name in "ABC"
    ]
    project.plan(tasks, verify="true", max_attempts=1)
    with Forge(tmp_path / "forge") as forge:
        forge.create("o/r", {"README.md": "x"})
        forge.jobs_of_runs[RUN] = []
        (tmp_path / "actions").mkdir()
        jobs = Jobs(project, tmp_path / "actions", run_id=str(RUN))
        jobs.environ = {
            "FANIN_SEALED": "true",
            "FANIN_JOB_TOKEN": forge.mint({"actions": "read"}),
            "GITHUB_API_URL": forge.api_url,
        }
        jobs.publish()
        yield Round(jobs, forge, jobs.next())


def test_a_result_that_another_job_uploaded_does_not_land(
    one_round: Round, tmp_path: Path
) -> None:
    """A's machine uploads a later result of B, with files of A, and one of C, whose job
    has died.
    """
    one_round.leg("A")
    one_round.leg("B")
    one_round.list("C", "")
    made = one_round.artifact("000")
    tree = json.loads((made / "result.json").read_text())["tree"]
    later = one_round.artifact("001", run_attempt=2)
    one_round.forge_result(one_round.artifact("001"), later, run_attempt=2, tree=tree)
    shutil.copy(made / "change.pack", later)
    one_round.forge_result(made, one_round.artifact("002"), task="C")
    merged = one_round.land(tmp_path)
    states = {"A": "completed", "B": "completed", "C": "failed"}
    assert one_round.jobs.states() == states, merged.log
    assert one_round.file("B") == "x"
    progress = json.loads(one_round.jobs.git("show", "main:.fanin/progress.json"))
    assert "another job made this one" in progress["tasks"]["C"]["error"]["message"]
