"""Rules of GitHub's runner and its cache that act does not have: the stand-ins enforce
them.
"""

from __future__ import annotations

import base64
import zipfile
from pathlib import Path

import pytest

from tests.support.github import harness, workflows
from tests.support.github.forge import Forge
from tests.support.github.harness import Harness
from tests.support.github.standin import artifacts, cache, post
from tests.support.github.standin.artifacts import Store
from tests.support.github.workflows import Document, WorkflowError

NAME = "octo/rules"


# -- outputs that contain a masked value --


@pytest.mark.parametrize(
    ("output", "secret"),
    [
        ("a 1 b", "1"),
        ("the token is hunter2!", "hunter2"),
        ("second line", "first\nsecond line\n"),
        ('say \\"x\\"', 'say "x"'),
        (base64.b64encode(b"hunter2").decode(), "hunter2"),
    ],
    ids=["one character", "a part", "one line of several", "as JSON", "as base64"],
)
def test_an_output_with_a_masked_value_is_dropped_however_short(
    output: str, secret: str
) -> None:
    outputs = {"state": output, "count": "7"}
    assert post.without_masked(outputs, post.masks_of(secret)) == (
        {"count": "7"},
        ["state"],
    )


def test_an_empty_secret_masks_nothing() -> None:
    outputs = {"state": "x", "none": ""}
    assert post.without_masked(outputs, post.masks_of(" \n")) == (outputs, [])


MASKING = """
on: workflow_dispatch
permissions: {}
jobs:
  first:
    runs-on: ubuntu-latest
    permissions: {}
    outputs:
      secret: ${{ steps.made.outputs.secret }}
      added: ${{ steps.made.outputs.added }}
      plain: ${{ steps.made.outputs.plain }}
      other: ${{ steps.made.outputs.other }}
    steps:
      - env: {KEY: "${{ secrets.KEY }}"}
        id: made
        shell: bash
        run: |
          echo "::add-mask::seven"
          echo "secret=has 1 in it" >>"$GITHUB_OUTPUT"
          echo "added=seven" >>"$GITHUB_OUTPUT"
          echo "plain=text" >>"$GITHUB_OUTPUT"
          echo "other=not used here" >>"$GITHUB_OUTPUT"
  second:
    needs: first
    runs-on: ubuntu-latest
    permissions: {}
    steps:
      - shell: bash
        run: echo "got [${{ needs.first.outputs.secret }}${{ needs.first.outputs.added }}][${{ needs.first.outputs.plain }}]"
"""


def test_the_next_job_does_not_get_a_masked_output(tmp_path: Path) -> None:
    try:
        harness.find_act()
    except harness.ActMissingError as error:
        pytest.skip(str(error))
    with Forge(tmp_path / "forge") as forge:
        forge.create(NAME, {".github/workflows/masking.yml": MASKING})
        act = Harness(
            forge, tmp_path / "work", secrets={"KEY": "1", "UNUSED": "not used here"}
        )
        run = act.run_act(NAME, workflow="masking.yml")
    assert run.jobs == {"first": "success", "second": "success"}, run.log
    assert run.leg("first").outputs == {"plain": "text", "other": "not used here"}
    assert "got [][text]" in run.printed("second")
    skipped = [item.text for item in run.annotations if item.level == "warning"]
    assert skipped == [
        f"Skip output '{name}' since it may contain secret."
        for name in ("secret", "added")
    ]


# -- cache modes --


def with_mode(node: Document, mode: str | None) -> Document:
    return node if mode is None else {**node, "cache-mode": mode}


@pytest.mark.parametrize(
    ("event", "job", "workflow", "mode"),
    [
        ("push", None, None, "write"),
        ("pull_request_target", None, None, "read"),
        ("issues", None, None, "read"),
        ("push", None, "read", "read"),
        ("push", "none", "write", "none"),
        ("issues", "write", None, "write"),
    ],
)
def test_a_job_has_its_own_mode_then_the_workflows_then_the_events(
    event: str, job: str | None, workflow: str | None, mode: str
) -> None:
    jobs = {"job": with_mode({"steps": []}, job)}
    document = with_mode({"on": event, "jobs": jobs}, workflow)
    done = workflows.with_cache_modes(document, event)["jobs"]["job"]
    assert done["env"] == {"STANDIN_CACHE_MODE": mode}


def test_an_unknown_mode_starts_nothing() -> None:
    with pytest.raises(WorkflowError, match="Unexpected value 'sometimes'"):
        workflows.cache_mode("push", "sometimes")


@pytest.mark.parametrize(
    ("asked", "granted", "mode"),
    [
        ("write", "read", "read"),
        ("read", "write", "read"),
        ("write", "none", "none"),
        ("write-only", "read", "none"),
        ("write", "write", "write"),
    ],
)
@pytest.mark.parametrize("by", ["jobs", "workflows", "jobs before workflows"])
def test_a_called_job_has_no_more_access_than_its_caller(
    asked: str, granted: str, mode: str, by: str
) -> None:
    """Each side says its mode for the job, for the workflow, or for both."""
    of_job = "jobs" in by
    of_workflow = {"jobs": None, "jobs before workflows": "none"}
    job: Document = {"runs-on": "x", "steps": [], "permissions": {}}
    job = with_mode(job, asked if of_job else None)
    called = with_mode(
        {"on": {"workflow_call": {}}, "jobs": {"inner": job}},
        of_workflow.get(by, asked),
    )
    call: Document = {"uses": "o/r/.github/workflows/x.yml@v1"}
    call = with_mode(call, granted if of_job else None)
    caller = with_mode(
        {"on": "push", "jobs": {"outer": call}}, of_workflow.get(by, granted)
    )
    lifted = workflows.lift(caller, lambda uses: called)
    jobs = workflows.with_cache_modes(lifted, "push")["jobs"]
    assert jobs["inner"]["env"] == {"STANDIN_CACHE_MODE": mode}


@pytest.mark.parametrize(
    ("mode", "acts"),
    [
        ("", ["restore", "save"]),
        ("write", ["restore", "save"]),
        ("read", ["restore"]),
        ("write-only", ["save"]),
        ("none", []),
    ],
)
def test_the_cache_service_enforces_the_mode(mode: str, acts: list[str]) -> None:
    env = {"STANDIN_CACHE_MODE": mode}
    assert [act for act in ("restore", "save") if cache.may(env, act)] == acts


# -- artifacts --


def uploaded(store: Store, name: str, *, attempt: int = 1, job: str = "task") -> None:
    files = {"file": name.encode()}
    store.create(7, name, files, run_attempt=attempt, job=job)


def download(root: Path, **inputs: str) -> list[str]:
    """Download what the inputs name; returns the files, relative to the target."""
    names = ["NAME", "ARTIFACT_IDS", "PATTERN", "MERGE_MULTIPLE", "GITHUB_TOKEN"]
    env = {f"IN_{name}": "" for name in [*names, "REPOSITORY", "RUN_ID"]}
    target = root / "out"
    env |= {
        "IN_PATH": str(target),
        "GITHUB_WORKSPACE": str(root),
        "GITHUB_RUN_ID": "7",
        "GITHUB_REPOSITORY": NAME,
        "GITHUB_OUTPUT": str(root / "output"),
        "STANDIN_STORE": str(root / "store"),
        **inputs,
    }
    artifacts.download(env)
    files = [path for path in target.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(target)) for path in files)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_without_a_token_a_rerun_sees_no_results_of_the_jobs_that_run_again(
    tmp_path: Path, store: Store
) -> None:
    uploaded(store, "kept", job="next")
    uploaded(store, "old", job="task")
    uploaded(store, "new", job="task", attempt=2)
    again = {"GITHUB_RUN_ATTEMPT": "2", "STANDIN_JOBS_AGAIN": "task merge"}
    assert download(tmp_path, **again) == ["kept/file", "new/file"]
    with_token = download(tmp_path, IN_GITHUB_TOKEN="t", **again)
    assert with_token == ["kept/file", "new/file", "old/file"]


def test_more_than_a_hundred_downloads_with_a_token_meet_the_limit(
    tmp_path: Path, store: Store
) -> None:
    for number in range(101):
        uploaded(store, f"a{number}")
    assert len(download(tmp_path)) == 101
    with pytest.raises(artifacts.ArtifactError, match="secondary rate limit"):
        download(tmp_path, IN_GITHUB_TOKEN="t")


def test_a_wrong_digest_fails_the_download_unless_it_only_warns(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    uploaded(store, "good")
    uploaded(store, "bad")
    (bad,) = [item for item in store.list(7) if item.name == "bad"]
    with zipfile.ZipFile(store.archive(bad), "a") as archive:
        archive.writestr("more", "x")
    with pytest.raises(artifacts.ArtifactError, match="bad: the digest"):
        download(tmp_path)
    files = download(tmp_path, IN_DIGEST_MISMATCH="warn")
    assert files == ["bad/file", "bad/more", "good/file"]
    assert "::warning::Artifact bad" in capsys.readouterr().out
    with pytest.raises(artifacts.ArtifactError, match="Invalid value"):
        download(tmp_path, IN_DIGEST_MISMATCH="sometimes")
