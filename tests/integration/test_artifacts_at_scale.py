"""250 results as artifacts: one damaged, and re-runs within the limits of GitHub's API.

Job `merge` is the real process; the artifacts are downloaded by the stand-in of
actions/download-artifact, which has its rules.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.actions.earlier_results import AT_ONCE, STEPS
from runner.core import result_folder
from runner.core.manifest import BatchEntry, Manifest
from tests.support.builders import result
from tests.support.github.forge import Forge
from tests.support.github.standin import artifacts
from tests.support.jobs import Job, Jobs
from tests.support.project import Project

LEGS = 250
RUN = 4711
REPOSITORY = "octo/work"
# GitHub's limits for one repository.
MOST_AT_ONCE = 100
MOST_AN_HOUR = 1000


class Batch:
    """A chosen batch of 250 tasks, and a result of each: a file of its own."""

    def __init__(self, jobs: Jobs, forge: Forge) -> None:
        self.jobs, self.forge = jobs, forge
        jobs.project.plan([{"id": f"T{n:03d}"} for n in range(LEGS)])
        jobs.publish()
        self.chosen = jobs.next(FANIN_MAX_CONCURRENT=str(LEGS))
        path = jobs.folder / "manifest.json"
        self.manifest = Manifest.model_validate_json(path.read_bytes())
        assert len(self.manifest.entries) == LEGS
        self.trees = self._trees()
        jobs.environ = {
            "GITHUB_API_URL": forge.api_url,
            "GITHUB_REPOSITORY": REPOSITORY,
            "FANIN_TOKEN": forge.mint({"actions": "read"}),
        }

    def _git(self, *argv: str, given: bytes = b"") -> bytes:
        argv = ("git", "-C", str(self.jobs.origin), *argv)
        return subprocess.run(argv, input=given, capture_output=True, check=True).stdout

    def _trees(self) -> list[str]:
        stream = b""
        for entry in self.manifest.entries:
            stream += f"commit refs/made/{entry.folder}\n".encode()
            stream += b"committer a <a@b> 0 +0000\ndata 1\nx\n"
            stream += f"from {self.manifest.base}\n".encode()
            name = entry.task.id
            stream += f"M 100644 inline {name}\ndata {len(name)}\n{name}\n".encode()
        self._git("fast-import", "--quiet", given=stream)
        names = [
            f"refs/made/{entry.folder}^{{tree}}" for entry in self.manifest.entries
        ]
        return self._git("rev-parse", *names).decode().split()

    def upload(self, entry: BatchEntry, run_attempt: int = 1) -> None:
        """Keep the entry's result as its task job does."""
        tree = self.trees[entry.index]
        revisions = f"{tree}\n^{self.manifest.base}^{{tree}}\n".encode()
        pack = self._git("pack-objects", "-q", "--stdout", "--revs", given=revisions)
        left = result(
            self.manifest,
            entry,
            tree=tree,
            pack=result_folder.PACK,
            run_attempt=run_attempt,
        )
        files = {
            result_folder.RESULT: left.model_dump_json().encode(),
            result_folder.PACK: pack,
        }
        name = result_folder.artifact_name(
            self.manifest.batch, entry.folder, entry.attempt, run_attempt
        )
        job = f"task-{entry.index}"
        self.forge.artifacts.create(RUN, name, files, run_attempt=run_attempt, job=job)

    def download(self, **inputs: str) -> int:
        """Run the stand-in of download-artifact; return its number of REST calls."""
        names = ["NAME", "ARTIFACT_IDS", "PATTERN", "MERGE_MULTIPLE", "GITHUB_TOKEN"]
        env = {f"IN_{name}": "" for name in [*names, "REPOSITORY", "RUN_ID"]}
        env |= {
            "IN_PATH": str(self.jobs.artifacts),
            "IN_DIGEST_MISMATCH": "warn",
            "GITHUB_WORKSPACE": str(self.jobs.folder),
            "GITHUB_RUN_ID": str(RUN),
            "GITHUB_RUN_ATTEMPT": str(self.jobs.run_attempt),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_OUTPUT": str(self.jobs.folder / "download-output"),
            "STANDIN_STORE": str(self.forge.artifacts.root),
            **inputs,
        }
        return artifacts.download(env)

    def download_results(self, again: str = "") -> None:
        """The step of the workflow, without a token; `again`: the jobs that run again."""
        pattern = f"fanin-{self.manifest.batch}-*-a*-r*"
        self.download(IN_PATTERN=pattern, STANDIN_JOBS_AGAIN=again)

    def download_earlier(self, job: str = "merge") -> list[int]:
        """The steps of the action in a re-run; returns the REST calls of each step.

        What was downloaded is uploaded for the jobs behind `job`.
        """
        before = len(self.forge.calls("GET", "/artifacts"))
        named = self.jobs.job(
            "earlier-results",
            str(self.jobs.artifacts),
            env={
                "FANIN_MANIFEST_DIGEST": self.chosen.outputs["manifest-digest"],
                "GITHUB_JOB": job,
            },
        )
        assert named.code == 0, named.log
        calls = [len(self.forge.calls("GET", "/artifacts")) - before]
        for step in range(1, STEPS + 1):
            ids = named.outputs.get(f"ids-{step}")
            if ids:
                path = named.outputs[f"path-{step}"]
                given = {
                    "IN_ARTIFACT_IDS": ids,
                    "IN_PATH": path,
                    "IN_GITHUB_TOKEN": "t",
                }
                calls.append(self.download(**given))
        if "share" in named.outputs:
            self._share(job, named.outputs["share"], named.outputs["share-path"])
        return calls

    def _share(self, job: str, name: str, path: str) -> None:
        files = {
            str(file.relative_to(path)): file.read_bytes()
            for file in Path(path).rglob("*")
            if file.is_file()
        }
        self.forge.artifacts.create(
            RUN, name, files, run_attempt=self.jobs.run_attempt, job=job
        )

    def forget_downloads(self) -> None:
        """The next job runs on a machine of its own."""
        if self.jobs.artifacts.exists():
            shutil.rmtree(self.jobs.artifacts)

    def merge(self) -> Job:
        return self.jobs.merge(self.chosen)


@pytest.fixture
def batch(project: Project, tmp_path: Path) -> Iterator[Batch]:
    (tmp_path / "actions").mkdir()
    with Forge(tmp_path / "forge") as forge:
        forge.create(REPOSITORY, {"README.md": "x"})
        yield Batch(Jobs(project, tmp_path / "actions", run_id=str(RUN)), forge)


def test_one_damaged_artifact_of_250_costs_only_its_own_task(
    batch: Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    for entry in batch.manifest.entries:
        batch.upload(entry)
    store = batch.forge.artifacts
    damaged = store.list(RUN)[7]
    files = store.read(damaged)
    files[result_folder.PACK] = files[result_folder.PACK][:-30]
    with zipfile.ZipFile(store.archive(damaged), "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    batch.download_results()
    assert capsys.readouterr().out.count("digest of the download does not match") == 1
    merged = batch.merge()
    states = batch.jobs.states()
    assert merged.outputs["completed"] == str(LEGS - 1), merged.log
    assert [name for name, state in states.items() if state == "failed"] == ["T007"]
    progress = batch.jobs.git("show", "main:.fanin/progress.json")
    assert json.loads(progress)["tasks"]["T007"]["error"]["kind"] == "corrupt"
    assert "T007" in merged.summary
    landed = batch.jobs.git("ls-tree", "--name-only", "main").split()
    assert len([name for name in landed if name.startswith("T")]) == LEGS - 1


@pytest.mark.parametrize(
    ("uploaded", "code"), [("AB", 2), ("A", 0)], ids=["lost", "not made"]
)
def test_results_that_overwrote_each_other_in_a_red_round_cost_no_attempt(
    project: Project, tmp_path: Path, uploaded: str, code: int
) -> None:
    """With merge-multiple the files of one artifact replace those of another, and a
    single artifact has no folder of its own: only the run's artifacts tell.
    """
    (tmp_path / "actions").mkdir()
    jobs = Jobs(project, tmp_path / "actions", run_id=str(RUN))
    project.plan([{"id": name, "do": [f"write {name}: x"]} for name in "ABC"])
    jobs.publish()
    chosen = jobs.next(FANIN_MAX_CONCURRENT="3")
    with Forge(tmp_path / "forge") as forge:
        forge.create(REPOSITORY, {"README.md": "x"})
        for name in uploaded:
            jobs.task(chosen, name)
        for artifact in list(jobs.artifacts.iterdir()):
            files = {file.name: file.read_bytes() for file in artifact.iterdir()}
            forge.artifacts.create(RUN, artifact.name, files)
            for file in artifact.iterdir():
                file.replace(jobs.artifacts / file.name)
            artifact.rmdir()
        jobs.environ["GITHUB_API_URL"] = forge.api_url
        jobs.environ["GITHUB_REPOSITORY"] = REPOSITORY
        jobs.environ["FANIN_TOKEN"] = forge.mint({"actions": "read"})
        before = jobs.git("rev-parse", "main")
        merged = jobs.merge(chosen, FANIN_TASK_RESULT="failure")
    assert merged.code == code, merged.log
    assert (jobs.git("rev-parse", "main") == before) == (code == 2)
    assert ("although the run has such an artifact" in merged.log) == (code == 2)


def test_a_rerun_of_merge_alone_asks_the_api_for_nothing(batch: Batch) -> None:
    for entry in batch.manifest.entries:
        batch.upload(entry)
    batch.jobs.run_attempt = 2
    batch.download_results(again="merge")
    assert batch.download_earlier() == [0]


def test_a_rerun_downloads_with_a_token_only_the_results_that_are_missing(
    batch: Batch,
) -> None:
    """Five task jobs run again: one leaves a new result, four machines are lost."""
    for entry in batch.manifest.entries:
        batch.upload(entry)
    batch.jobs.run_attempt = 2
    batch.upload(batch.manifest.entries[0], run_attempt=2)
    again = " ".join(f"task-{number}" for number in range(5))
    batch.download_results(again=f"{again} merge")
    # Lists of 100 artifacts each, twice, then a call for each of the four.
    assert batch.download_earlier() == [3, 3 + 4]
    assert batch.merge().outputs["completed"] == str(LEGS)


def test_a_single_missing_result_is_found_beside_a_damaged_one(batch: Batch) -> None:
    entry = batch.manifest.entries[5]
    batch.upload(entry)
    batch.jobs.run_attempt = 2
    batch.upload(batch.manifest.entries[6], run_attempt=2)
    batch.upload(batch.manifest.entries[7], run_attempt=2)
    damaged = result_folder.artifact_name(batch.manifest.batch, entry.folder, 1, 2)
    batch.forge.artifacts.create(RUN, damaged, {"result.json": b"{"}, run_attempt=2)
    batch.download_results(again="task-5 merge")
    assert batch.download_earlier() == [1, 1 + 1]
    reading = result_folder.read(batch.jobs.artifacts, batch.manifest, entry)
    assert reading.result is not None


def test_a_rerun_in_which_all_results_are_missing_keeps_githubs_limits(
    batch: Batch,
) -> None:
    for entry in batch.manifest.entries:
        batch.upload(entry)
    batch.jobs.run_attempt = 2
    again = " ".join(f"task-{number}" for number in range(LEGS))
    batch.download_results(again=f"{again} merge")
    lists, *downloads = batch.download_earlier("verify")
    pages = 3
    assert lists == pages
    assert downloads == [
        pages + count for count in (AT_ONCE, AT_ONCE, LEGS - 2 * AT_ONCE)
    ]
    assert max(downloads) < MOST_AT_ONCE
    # Of all four jobs, so that two such re-runs fit into an hour.
    assert 2 * (lists + sum(downloads)) < MOST_AN_HOUR
    for job in ("merge", "verify-again", "merge-again"):
        batch.forget_downloads()
        batch.download_results(again=f"{again} merge")
        assert batch.download_earlier(job) == [0]
    merged = batch.merge()
    assert merged.outputs["completed"] == str(LEGS)
    # What the branch has recorded is not needed again.
    batch.forget_downloads()
    assert batch.download_earlier() == [0]
