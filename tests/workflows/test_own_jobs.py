"""The example for jobs of one's own: what no run of it can show."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.github.model import evaluate
from tests.support.github.workflows import Document, load, needs, permissions, triggers
from tests.support.github.workflows import dump as dumped

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
TEXT = (ROOT / "examples/own-jobs.yml").read_text(encoding="utf-8")
ACTION = load((ROOT / "action.yml").read_text(encoding="utf-8"))
# What a user may take the comment sign away from.
VERIFIES = {"contents": "read", "actions": "read"}
WRITES = {"contents": "write", "actions": "read", "pull-requests": "write"}
OPTIONAL = re.compile(r"^( +)# ((?:environment|services|id-token): )", re.MULTILINE)


def jobs(text: str = TEXT) -> dict[str, Document]:
    return dict(load(text)["jobs"])


def steps_of_fanin() -> Iterator[tuple[str, Document]]:
    """(job id, step) of every step that uses the action."""
    for job_id, job in jobs().items():
        for step in job["steps"]:
            if step.get("uses") == "fanin/fanin@v0":
                yield job_id, step


def test_each_command_has_a_job_of_its_name() -> None:
    commands = [(job_id, step["with"]["command"]) for job_id, step in steps_of_fanin()]
    assert commands == [
        (command, command) for command in ("next", "task", "verify", "merge")
    ] + [
        ("verify-again", "verify"),
        ("merge-again", "merge"),
        ("continue", "continue"),
    ]


def test_only_inputs_and_outputs_that_the_action_declares_are_used() -> None:
    for _, step in steps_of_fanin():
        assert set(step["with"]) <= set(ACTION["inputs"])
    outputs = set(re.findall(r"steps\.(?:next|task|merge)\.outputs\.([\w-]+)", TEXT))
    assert outputs <= set(ACTION["outputs"])
    for job_id, name in re.findall(r"needs\.([\w-]+)\.outputs\.([\w-]+)", TEXT):
        assert name in jobs()[job_id]["outputs"]


def test_each_job_has_the_permissions_that_it_needs_and_a_time_limit() -> None:
    assert load(TEXT)["permissions"] == {}
    assert {
        job_id: permissions(job["permissions"]) for job_id, job in jobs().items()
    } == {
        "refused": {},
        "next": {"contents": "read", "pull-requests": "read"},
        "task": {"contents": "read"},
        "verify": VERIFIES,
        "merge": WRITES,
        "verify-again": VERIFIES,
        "merge-again": WRITES,
        "continue": {"actions": "write"},
    }
    assert all("timeout-minutes" in job for job in jobs().values())


def test_no_agent_gets_a_token_and_no_job_that_writes_runs_other_code() -> None:
    (task,) = [step for job_id, step in steps_of_fanin() if job_id == "task"]
    assert task["with"]["token"] == ""
    assert "github.token" not in dumped(jobs()["task"])
    for job_id in ("merge", "merge-again", "continue"):
        assert [step for step in jobs()[job_id]["steps"] if "run" in step] == []


def test_a_cancelled_run_still_merges_and_neither_verifies_nor_continues() -> None:
    conditions = {job_id: str(job.get("if")) for job_id, job in jobs().items()}
    assert conditions["merge"].startswith("always() && ")
    assert "!cancelled() && " in conditions["verify"]
    assert "!cancelled() && " in conditions["continue"]
    assert needs(jobs()["merge"]) == ["next", "task", "verify"]
    assert jobs()["task"]["strategy"]["fail-fast"] is False


PULL = {
    "state": "open",
    "head": {"repo": {"full_name": "o/r"}},
    "user": {"login": "octocat"},
}
FORK = {**PULL, "head": {"repo": {"full_name": "stranger/r"}}}
CLOSED = {**PULL, "state": "closed"}
DEPENDABOT = {**PULL, "user": {"login": "dependabot[bot]"}}


@pytest.mark.parametrize(
    ("pull_request", "label", "starts"),
    [
        (PULL, "fanin", ["next"]),
        (PULL, "bug", []),
        (CLOSED, "fanin", []),
        (FORK, "fanin", ["refused"]),
        (DEPENDABOT, "fanin", ["refused"]),
        (DEPENDABOT, "dependencies", []),
    ],
)
def test_a_pull_request_starts_a_run_only_if_it_is_open_and_ones_own(
    pull_request: Document, label: str, starts: list[str]
) -> None:
    github = {
        "event_name": "pull_request",
        "repository": "o/r",
        "event": {"pull_request": pull_request, "label": {"name": label}},
    }
    started = [
        job_id
        for job_id in ("refused", "next")
        if evaluate(jobs()[job_id]["if"], {"github": github})
    ]
    assert started == starts


def test_a_re_run_starts_no_agent_for_an_attempt_that_the_branch_has() -> None:
    steps = jobs()["task"]["steps"]
    (checkout,) = [step for step in steps if step.get("if") == "github.run_attempt > 1"]
    assert checkout["with"]["ref"].endswith("${{ needs.next.outputs.branch }}")
    (task,) = [step for job_id, step in steps_of_fanin() if job_id == "task"]
    assert checkout["with"]["path"] in task["with"]["branch-checkout"]
    assert "steps.task.outputs.skipped != 'true'" in steps[-1]["if"]


def test_merge_searches_the_results_for_the_keys_that_the_agents_had() -> None:
    environments = {job_id: step.get("env") for job_id, step in steps_of_fanin()}
    assert environments["merge"] == environments["merge-again"] == environments["task"]
    assert environments["task"]
    without = ("next", "verify", "verify-again", "continue")
    assert not any(environments[job_id] for job_id in without)


def test_artifacts_have_names_that_the_jobs_behind_them_find() -> None:
    made = [
        step["with"]["name"]
        for job in jobs().values()
        for step in job["steps"]
        if "upload-artifact" in step.get("uses", "")
    ]
    assert made[0] == jobs()["next"]["outputs"]["manifest-artifact"]
    assert made[2] == made[3] == jobs()["verify"]["outputs"]["verdict"]
    assert "${{ github.job }}" in made[2]  # a job of its own has a name of its own
    assert all("r${{ github.run_attempt }}" in name for name in made)


def test_the_second_pair_is_the_first_once_more() -> None:
    first, second = jobs()["verify"], jobs()["verify-again"]
    # What the first merge refused, the second verification leaves out.
    refused = {"env": {"FANIN_REFUSED": "${{ needs.merge.outputs.refused }}"}}
    first |= refused
    assert {**second, "needs": first["needs"], "if": first["if"]} == first
    expected = jobs()["merge"]
    text = dumped(expected).replace("needs.verify.", "needs.verify-again.")
    expected = load(text.replace("last: false", "last: true"))
    made = jobs()["merge-again"]
    assert {**made, "needs": expected["needs"], "if": expected["if"]} == expected


def test_the_next_round_is_a_dispatch_with_the_state_alone() -> None:
    inputs = triggers(load(TEXT))["workflow_dispatch"]["inputs"]
    assert inputs["fanin-state"]["type"] == "string"
    assert not any(body.get("required") for body in inputs.values())
    (step,) = [step for job_id, step in steps_of_fanin() if job_id == "next"]
    assert step["with"]["state"] == "${{ inputs.fanin-state }}"


def with_options() -> str:
    """The example with everything that it has in comments."""
    text, count = OPTIONAL.subn(r"\1\2", TEXT)
    assert count == 7
    return text


def test_what_is_in_comments_belongs_to_the_jobs_that_run_foreign_code_or_hold_keys() -> (
    None
):
    found = jobs(with_options())
    for job_id in ("task", "merge", "merge-again"):
        assert found[job_id]["environment"] == "agents"
    assert permissions(found["task"]["permissions"])["id-token"] == "write"
    for job_id in ("verify", "verify-again"):
        assert found["task"]["services"] == found[job_id]["services"]


@pytest.mark.parametrize("tool", ["actionlint", "zizmor", "check-jsonschema"])
def test_the_example_is_clean_with_what_is_in_comments_too(
    tool: str, tmp_path: Path
) -> None:
    program = TOOLS / tool
    if not program.exists():
        pytest.skip(f"{tool} is not installed: pip install --group dev")
    file = tmp_path / ".github/workflows/own-jobs.yml"
    file.parent.mkdir(parents=True)
    file.write_text(with_options(), encoding="utf-8")
    options = {
        "actionlint": [],
        "zizmor": ["--offline", "--no-progress", "--config", ".github/zizmor.yml"],
        "check-jsonschema": ["--builtin-schema", "vendor.github-workflows"],
    }
    finished = subprocess.run(
        [str(program), *options[tool], str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
