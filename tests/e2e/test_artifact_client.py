"""What a leg leaves goes through the official @actions/artifact client and is read on
the other side.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.core import result_folder
from runner.core.manifest import Manifest
from tests.support.github.results_service import ResultsService
from tests.support.jobs import Jobs
from tests.support.project import Project

pytestmark = pytest.mark.xdist_group("artifact client")  # one installation

# What the pinned upload-artifact v6 and download-artifact v7 are built on.
PACKAGE = "@actions/artifact@5.0.1"
CLIENT = """
const { DefaultArtifactClient } = require('@actions/artifact')
const [verb, name, root, ...files] = process.argv.slice(2)
const client = new DefaultArtifactClient()
const verbs = {
  upload: () => client.uploadArtifact(name, files, root, { retentionDays: 7 }),
  download: async () => {
    const { artifact } = await client.getArtifact(name)
    return client.downloadArtifact(artifact.id, { path: root, expectedHash: artifact.digest })
  },
}
verbs[verb]().then(
  (answer) => console.log('\\n' + JSON.stringify(answer)),
  (error) => { console.error(error.message); process.exitCode = 1 },
)
"""


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the client in it."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(
            "npm is not installed, so the official @actions/artifact client is not tried"
        )
    where = tmp_path_factory.mktemp("npm")
    done = subprocess.run(
        [
            npm,
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            str(where),
            PACKAGE,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr[-500:]}")
    return where / "node_modules"


@dataclass
class Client:
    """The client in a job of run 4711."""

    modules: Path
    script: Path
    service: ResultsService
    workspace: Path

    def __call__(
        self, verb: str, name: str, root: Path, *files: Path, run: str = "4711"
    ) -> dict[str, Any] | str:
        """The client's answer, or what it complains of."""
        done = subprocess.run(
            ["node", str(self.script), verb, name, str(root), *map(str, files)],
            env={
                "PATH": os.environ["PATH"],
                "NODE_PATH": str(self.modules),
                "GITHUB_WORKSPACE": str(self.workspace),
                "GITHUB_SERVER_URL": "https://github.com",
                **self.service.environment(run),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


@pytest.fixture
def client(modules: Path, tmp_path: Path) -> Iterator[Client]:
    script = tmp_path / "client.cjs"
    script.write_text(CLIENT, encoding="utf-8")
    with ResultsService() as service:
        yield Client(modules, script, service, tmp_path)


@pytest.fixture
def leg(tmp_path: Path) -> tuple[Manifest, Path]:
    """A leg that ran: the batch's manifest, and the artifact's folder named as the
    workflow names it.
    """
    root = tmp_path / "repository"
    root.mkdir()
    project = Project(root, tmp_path / "agent.log")
    project.git("init", "-q", "-b", "main")
    project.plan([{"id": "area/A:1", "do": ["write a: a", "binary b", "spam 200000"]}])
    (tmp_path / "jobs").mkdir()
    jobs = Jobs(project, tmp_path / "jobs")
    jobs.publish()
    jobs.tasks(jobs.next())
    (folder,) = jobs.artifacts.iterdir()
    return Manifest.model_validate_json(
        (jobs.folder / "manifest.json").read_bytes()
    ), folder


def test_result_folder_survives_the_official_client(
    client: Client, leg: tuple[Manifest, Path], tmp_path: Path
) -> None:
    manifest, folder = leg
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert {path.name for path in files} >= {
        result_folder.RESULT,
        result_folder.ATTEMPT,
        result_folder.PACK,
        result_folder.LOG,
    }
    uploaded = client("upload", folder.name, folder, *files)
    assert isinstance(uploaded, dict), uploaded
    assert uploaded["id"] == 1
    assert "FinalizeArtifact" in client.service.calls

    # One artifact comes straight into `path`, one of several into a folder of its name.
    for root in (tmp_path / "alone", tmp_path / "several"):
        into = root if root.name == "alone" else root / folder.name
        answer = client("download", folder.name, into)
        assert isinstance(answer, dict), answer
        assert answer["digestMismatch"] is False
        assert {path.name: path.read_bytes() for path in into.iterdir()} == {
            p.name: p.read_bytes() for p in files
        }
        reading = result_folder.read(root, manifest, manifest.entries[0])
        assert reading.failure is None
        assert reading.result is not None
        assert (reading.result.task, reading.result.succeeded) == ("area/A:1", True)
        assert reading.pack == into / result_folder.PACK
    (upload,) = client.service.uploads
    assert upload.digest.endswith(hashlib.sha256(upload.content).hexdigest())


def test_client_is_told_that_a_name_is_taken_and_another_run_has_its_own(
    client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    assert isinstance(client("upload", "same", tmp_path, file), dict)
    complaint = client("upload", "same", tmp_path, file)
    assert isinstance(complaint, str)
    assert "already exists" in complaint
    assert isinstance(client("upload", "same", tmp_path, file, run="4712"), dict)
    missing = client("download", "same", tmp_path / "out", run="4713")
    assert isinstance(missing, str)
    assert "not found" in missing.lower()
