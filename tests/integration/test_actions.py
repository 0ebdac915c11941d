"""The jobs of GitHub Actions as real processes around a bare origin; the workflow files
run in tests/e2e.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.core.event_lines import NAME, read_events
from runner.core.events import (
    AgentOutput,
    AttemptStarted,
    CommitLanded,
    ResultRefused,
)
from tests.support.jobs import ROOT, Job, Jobs
from tests.support.project import Project

TWO: list[dict[str, Any]] = [
    {"id": "A", "do": ["write a: a"]},
    {"id": "B", "do": ["write b: b"]},
]


@pytest.fixture
def jobs(project: Project, tmp_path: Path) -> Jobs:
    (tmp_path / "actions").mkdir()
    return Jobs(project, tmp_path / "actions")


def start(jobs: Jobs, tasks: list[dict[str, Any]], **settings: Any) -> None:
    jobs.project.plan(tasks, **settings)
    jobs.publish()


def rival(jobs: Jobs, path: str = "rival", text: str = "by a rival\n") -> None:
    """Somebody else pushes to main."""
    jobs.project.git("pull", "-q", str(jobs.origin), "main")
    jobs.project.write(path, text)
    jobs.project.commit(f"rival {path}")
    jobs.project.git("push", "-q", str(jobs.origin), "main")


def test_a_round_lands_one_commit_and_says_what_remains(jobs: Jobs) -> None:
    start(jobs, [*TWO, {"id": "C/1", "depends_on": ["A"], "do": ["write c: c"]}])
    chosen = jobs.next()
    assert chosen.outputs["has-work"] == "true", chosen.log
    assert [entry["task"] for entry in jobs.matrix(chosen)] == ["A", "B"]
    legs = jobs.tasks(chosen)
    assert {leg.code for leg in legs.values()} == {0}
    merged = jobs.merge(chosen)
    assert merged.code == 0, merged.log
    assert {
        name: merged.outputs[name]
        for name in ("completed", "failed", "blocked", "remaining", "again")
    } == {
        "completed": "2",
        "failed": "0",
        "blocked": "0",
        "remaining": "1",
        "again": "true",
    }
    assert merged.outputs["commit"] == jobs.git("rev-parse", "main")
    assert jobs.git("log", "-1", "--format=%s", "main") == "Fan in A, B"
    assert jobs.states() == {"A": "completed", "B": "completed", "C/1": "pending"}
    assert "```mermaid" in merged.summary


def test_each_task_of_a_summary_links_to_its_job_in_later_rounds_too(
    jobs: Jobs,
) -> None:
    failing = {"id": "B", "do": ["fail lost the thread"], "max_attempts": 1}
    waiting = {"id": "C", "depends_on": ["A"], "do": ["write c: c"]}
    start(jobs, [{"id": "A", "do": ["write a: a"]}, failing, waiting])
    chosen = jobs.next()
    jobs.tasks(chosen)
    summary = jobs.merge(chosen).summary
    page = f"/actions/runs/{jobs.run_id}/job"
    assert summary.startswith("## Round 1: 1 of 3 done, 1 failed\n")
    folders = {entry["task"]: entry["folder"] for entry in jobs.matrix(chosen)}
    assert f"{page}/70{folders['A']}" in summary
    job_of_b = f"https://github.com/o/r{page}/70{folders['B']}"
    assert f"[Log of its job]({job_of_b})" in summary
    # The next round runs C alone, and B's failure keeps its detail.
    chosen = jobs.next(FANIN_STATE=json.dumps({"run": jobs.run_id, "round": 2}))
    assert [entry["task"] for entry in jobs.matrix(chosen)] == ["C"]
    jobs.tasks(chosen)
    earlier = jobs.merge(chosen).summary.partition("### Failed in earlier rounds")[2]
    assert f"[Log of its job]({job_of_b})" in earlier
    assert "lost the thread" in earlier


def test_fan_in_done_twice_is_one_commit(jobs: Jobs) -> None:
    start(jobs, TWO)
    chosen = jobs.next()
    jobs.tasks(chosen)
    jobs.merge(chosen)
    before = jobs.git("rev-parse", "main")
    again = jobs.merge(chosen)
    assert again.code == 0, again.log
    assert again.outputs["commit"] == ""
    assert jobs.git("rev-parse", "main") == before


def test_a_job_that_left_no_result_is_a_failed_attempt(jobs: Jobs) -> None:
    start(jobs, TWO)
    chosen = jobs.next()
    jobs.task(chosen, "A")
    merged = jobs.merge(chosen, FANIN_TASK_RESULT="failure")
    assert merged.outputs["again"] == "true"
    record = json.loads(jobs.git("show", "main:.fanin/progress.json"))["tasks"]["B"]
    assert (record["status"], record["attempts"]) == ("failed", 1)
    assert record["error"]["message"] == "the job left no result"
    assert "::error file=tasks.yml,line=" in merged.log


def test_a_cancelled_run_saves_what_finished_and_counts_nothing_else(
    jobs: Jobs,
) -> None:
    start(jobs, TWO)
    chosen = jobs.next()
    jobs.task(chosen, "A")
    jobs.merge(chosen, FANIN_TASK_RESULT="cancelled")
    assert jobs.states() == {"A": "completed", "B": "pending"}


def test_a_leg_stays_green_when_its_agent_fails_and_merge_is_red_when_it_failed_for_good(
    jobs: Jobs,
) -> None:
    start(
        jobs,
        [
            {"id": "A", "do": ["fail ::error::not a command"], "max_attempts": 1},
            {"id": "B", "depends_on": ["A"]},
        ],
    )
    chosen = jobs.next()
    (leg,) = jobs.tasks(chosen).values()
    assert leg.code == 0
    assert "::error file=tasks.yml,title=A%3A agent_error::" in leg.log
    merged = jobs.merge(chosen)
    assert merged.code == 1
    assert (
        merged.outputs["failed"],
        merged.outputs["blocked"],
        merged.outputs["again"],
    ) == ("1", "1", "false")
    assert jobs.next().code == 1  # nothing can run and not all is well


def test_agent_output_is_fenced_so_that_it_cannot_speak_to_the_machine(
    jobs: Jobs,
) -> None:
    start(jobs, [{"id": "A", "do": ["print ::set-output name=x::evil", "write a: a"]}])
    leg = jobs.task(jobs.next(), "A")
    lines = leg.log.splitlines()
    token = next(
        line.removeprefix("::stop-commands::")
        for line in lines
        if line.startswith("::stop-commands::")
    )
    assert (
        lines.index(f"::stop-commands::{token}")
        < lines.index("::set-output name=x::evil")
        < lines.index(f"::{token}::")
    )


def test_the_artifact_of_an_attempt_has_its_events(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FANIN_AGENT_ENV", "KEY=s3cret-value-of-a-key")
    start(jobs, [{"id": "A", "do": ["print at work", "print s3cret-value-of-a-key"]}])
    jobs.task(jobs.next(), "A")
    [artifact] = jobs.artifacts.iterdir()
    events = list(read_events(artifact / NAME))
    names = [event.event for event in events]
    assert (names[0], names[-1]) == ("attempt_started", "attempt_ended")
    output = [event for event in events if isinstance(event, AgentOutput)]
    assert output[-1].last_line == "***"
    [started] = [event for event in events if isinstance(event, AttemptStarted)]
    assert (artifact / started.log).read_text() == "at work\n***\n"


def test_branch_moved_between_next_and_merge_is_merged_again_and_the_rival_kept(
    jobs: Jobs,
) -> None:
    start(jobs, TWO)
    chosen = jobs.next()
    jobs.tasks(chosen)
    rival(jobs)
    assert jobs.merge(chosen).code == 0
    assert jobs.git("log", "--format=%s", "main").splitlines()[:2] == [
        "Fan in A, B",
        "rival rival",
    ]
    assert "rival" in jobs.git("ls-tree", "--name-only", "main").splitlines()


def test_rerun_of_a_failed_job_counts_its_newest_result(jobs: Jobs) -> None:
    start(jobs, TWO)
    chosen = jobs.next()
    jobs.task(chosen, "A")
    jobs.run_attempt = 2
    jobs.task(chosen, "B")
    jobs.task(chosen, "A")
    merged = jobs.merge(chosen)
    assert jobs.states() == {"A": "completed", "B": "completed"}, merged.log
    assert len(list(jobs.artifacts.iterdir())) == 3


def test_a_single_artifact_is_read_from_the_folder_itself(jobs: Jobs) -> None:
    start(jobs, TWO, max_concurrent=1)
    chosen = jobs.next()
    jobs.tasks(chosen)
    (only,) = jobs.artifacts.iterdir()
    for file in only.iterdir():  # what download-artifact does with one artifact
        file.rename(jobs.artifacts / file.name)
    only.rmdir()
    jobs.merge(chosen)
    assert jobs.states()["A"] == "completed"


def test_a_result_that_was_not_downloaded_is_refused_and_costs_no_attempt(
    jobs: Jobs,
) -> None:
    start(jobs, TWO)
    chosen = jobs.next()
    jobs.tasks(chosen)
    before = jobs.git("rev-parse", "main")
    for artifact in list(jobs.artifacts.iterdir()):  # as with merge-multiple
        for file in artifact.iterdir():
            file.replace(jobs.artifacts / file.name)
        artifact.rmdir()
    merged = jobs.merge(chosen)
    assert merged.code == 2
    assert "although every task job succeeded" in merged.log
    assert "merge-multiple" in merged.summary
    assert jobs.git("rev-parse", "main") == before


def test_results_in_folders_of_ones_own_land(jobs: Jobs) -> None:
    start(jobs, TWO)
    chosen = jobs.next()
    jobs.tasks(chosen)
    for artifact in list(jobs.artifacts.iterdir()):
        inner = jobs.artifacts / "results" / artifact.name / "results"
        inner.parent.mkdir(parents=True)
        artifact.rename(inner)
    merged = jobs.merge(chosen)
    assert jobs.states() == {"A": "completed", "B": "completed"}, merged.log


@pytest.mark.parametrize("command", ["merge", "verify", "task"])
def test_a_missing_argument_is_a_sentence(jobs: Jobs, command: str) -> None:
    start(jobs, TWO)
    job = jobs.job(command)
    name = "task" if command == "task" else "results"
    assert job.code == 2
    assert f"the argument or input  {name}  is missing" in job.log
    assert "is missing" in job.summary


def test_retry_takes_ids_with_spaces(jobs: Jobs) -> None:
    start(
        jobs,
        [
            {"id": task_id, "do": ["fail no"], "max_attempts": 1}
            for task_id in ("Add a", "Add b", "C", "D")
        ],
        max_concurrent=4,
    )
    chosen = jobs.next()
    jobs.tasks(chosen)
    jobs.merge(chosen)
    for text, expected in (
        ("Add a", ["Add a"]),
        ("Add a\nAdd b\n", ["Add a", "Add b"]),
        ("C, D", ["C", "D"]),
        ("C D\nAdd b", ["Add b", "C", "D"]),
    ):
        chosen = jobs.next(FANIN_RETRY=text, GITHUB_RUN_ID="4712")
        assert [entry["task"] for entry in jobs.matrix(chosen)] == expected, chosen.log


@pytest.mark.parametrize(
    ("runs_on", "timeout", "code"),
    [
        ("ubuntu-latest", "5h30m", 0),
        ("ubuntu-latest", "5h50m", 2),
        ('["self-hosted", "linux"]', "24h", 0),
        ('["self-hosted", "ubuntu-24.04"]', "24h", 0),
        ("gpu-box", "24h", 0),
    ],
)
def test_a_time_limit_that_githubs_machines_do_not_last_is_refused(
    jobs: Jobs, runs_on: str, timeout: str, code: int
) -> None:
    start(jobs, TWO, timeout=timeout, setup="true")
    chosen = jobs.next(FANIN_RUNS_ON=runs_on)
    assert chosen.code == code, chosen.log
    assert ("GitHub ends its job after" in chosen.log) == (code == 2)


def test_manifest_of_another_run_is_refused_and_nothing_is_pushed(jobs: Jobs) -> None:
    start(jobs, TWO)
    chosen = jobs.next()
    jobs.tasks(chosen)
    before = jobs.git("rev-parse", "main")
    merged = jobs.merge(chosen, FANIN_MANIFEST_DIGEST="0" * 64)
    assert merged.code == 2
    assert "belongs to another run" in merged.log
    assert jobs.git("rev-parse", "main") == before


@pytest.mark.parametrize(("env", "said"), [
    ({"FANIN_PLAN": "nowhere.yml"}, "there is no such plan"),
    ({"FANIN_MAX_CONCURRENT": "lots"}, "FANIN_MAX_CONCURRENT"),
    ({"FANIN_MAX_CONCURRENT": "257"}, "expected 256 or less"),
    ({"FANIN_RETRY": "AA"}, "did you mean A?"),
    ({"FANIN_STATE": "{"}, "fanin-state"),
    ({"FANIN_RUNS_ON": "[1]"}, "runs-on"),
])  # fmt: skip
def test_bad_input_ends_with_exit_2_and_the_sentence_to_act_on(
    jobs: Jobs, env: dict[str, str], said: str
) -> None:
    start(jobs, TWO)
    chosen = jobs.next(**env)
    assert chosen.code == 2
    assert said in chosen.log
    assert "has-work" not in chosen.outputs


def test_every_problem_is_an_annotation_at_its_line_and_in_the_summary(
    jobs: Jobs,
) -> None:
    jobs.project.write(
        "tasks.yml", "tasks:\n- id: A\n  depends_on: [nobody]\n- id: A\n"
    )
    jobs.project.commit()
    jobs.publish()
    chosen = jobs.next()
    assert chosen.code == 2
    annotations = [
        line for line in chosen.log.splitlines() if line.startswith("::error ")
    ]
    assert len(annotations) > 1
    assert all(
        re.match("::error file=tasks.yml,line=[0-9]+::", line) for line in annotations
    )
    assert "## Fanin: nothing was started" in chosen.summary
    assert chosen.summary.count("\n- `tasks.yml:") == len(annotations)


def test_a_problem_of_an_input_is_an_annotation_without_a_file(jobs: Jobs) -> None:
    start(jobs, TWO)
    chosen = jobs.next(FANIN_MAX_CONCURRENT="lots")
    assert "::error title=fanin::environment: FANIN_MAX_CONCURRENT: " in chosen.log
    assert "- `environment`: FANIN" in chosen.summary
    assert jobs.next(FANIN_PLAN="nowhere.yml").summary.startswith("## Fanin: nothing")


def test_a_repository_without_commits_is_refused(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    environ = {**os.environ, "GITHUB_RUN_ID": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "runner", "next"],
        cwd=tmp_path,
        env=environ,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "the repository has no commit yet" in done.stderr


def test_verify_without_a_command_is_refused(jobs: Jobs, tmp_path: Path) -> None:
    start(jobs, TWO)
    chosen = jobs.next()
    jobs.tasks(chosen)
    verified = jobs.verify(chosen, tmp_path / "verdict.json")
    assert verified.code == 2
    assert "the batch has no verify command" in verified.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_checkout_of_another_user_works(jobs: Jobs) -> None:
    start(jobs, TWO)
    jobs.owner = 12_345
    jobs.environ["GITHUB_ACTIONS"] = "true"
    chosen = jobs.next()
    assert chosen.outputs["has-work"] == "true", chosen.log
    jobs.tasks(chosen)
    merged = jobs.merge(chosen)
    assert jobs.states() == {"A": "completed", "B": "completed"}, merged.log


def test_dry_run_says_what_would_run_and_has_no_work(jobs: Jobs) -> None:
    start(jobs, TWO)
    chosen = jobs.next(FANIN_DRY_RUN="true")
    assert chosen.outputs["has-work"] == "false"
    assert "would run A, B" in chosen.summary


def test_retry_input_grants_an_attempt_that_the_fan_in_records(jobs: Jobs) -> None:
    start(jobs, [{"id": "A", "do": ["fail until 2", "write a: a"], "max_attempts": 1}])
    chosen = jobs.next()
    jobs.tasks(chosen)
    jobs.merge(chosen)
    assert jobs.next().outputs["has-work"] == "false"
    shutil.rmtree(jobs.artifacts)
    jobs.run_id = "4712"
    chosen = jobs.next(FANIN_RETRY="A")
    jobs.tasks(chosen)
    for _ in range(2):
        jobs.merge(chosen)
    record = json.loads(jobs.git("show", "main:.fanin/progress.json"))["tasks"]["A"]
    assert (record["status"], record["attempts"], record["allowed"]) == (
        "completed",
        2,
        2,
    )


def test_verified_tree_lands_and_the_culprit_is_sent_back(
    jobs: Jobs, tmp_path: Path
) -> None:
    start(jobs, [*TWO, {"id": "C", "do": ["write c: c"]}], verify="test ! -e b")
    chosen = jobs.next()
    assert chosen.outputs["verify"] == "true"
    jobs.tasks(chosen)
    verdict = tmp_path / "verdict.json"
    of_verify = jobs.artifacts / "fanin-4711.1-verdict-verify-r1" / NAME
    of_merge = jobs.artifacts / "fanin-4711.1-events-merge-r1" / NAME
    verified = jobs.verify(chosen, verdict, FANIN_EVENTS=str(of_verify))
    assert verified.code == 0
    jobs.merge(chosen, FANIN_VERDICT=str(verdict), FANIN_EVENTS=str(of_merge))
    assert jobs.states() == {"A": "completed", "B": "failed", "C": "completed"}
    names = [event.event for event in read_events(of_verify)]
    assert names[:2] == ["verify_started", "verify_ended"]
    assert len(names) > 2, "the red tree is bisected"
    merged = list(read_events(of_merge))
    landed = [event for event in merged if isinstance(event, CommitLanded)]
    head = jobs.git("rev-parse", "main")
    assert [(each.commit, each.tasks) for each in landed] == [(head, ("A", "C"))]
    assert [each.task for each in merged if isinstance(each, ResultRefused)] == ["B"]
    assert merged[-1].event == "batch_merged"
    shown = jobs.project.cli("show", "B", "--json", "--from", str(jobs.artifacts))
    [attempt] = json.loads(shown.stdout)["attempts"]
    assert (attempt["state"], attempt["failure"]["kind"]) == ("failed", "verify")
    assert "fanin-4711.1-001-a1-r1/agent.log" in attempt["log"]


def test_without_a_verdict_nothing_lands_nothing_counts_and_a_rerun_lands_it(
    jobs: Jobs, tmp_path: Path
) -> None:
    tasks = [*TWO, {"id": "C", "do": ["fail no luck"], "max_attempts": 1}]
    start(jobs, tasks, verify="true")
    chosen = jobs.next()
    jobs.tasks(chosen)
    before = jobs.git("rev-parse", "main")
    verdict = tmp_path / "verdict.json"
    merged = jobs.merge(
        chosen,
        FANIN_VERDICT=str(verdict),
        FANIN_VERIFY_RESULT="cancelled",
        FANIN_LATER_ROUNDS="4",
    )
    assert merged.code == 3
    assert jobs.git("rev-parse", "main") == before
    assert "job verify gave no verdict" in merged.log
    assert "re-run failed jobs before 20" in merged.log
    assert "Re-run failed jobs" in merged.summary
    assert "The results are kept until 20" in merged.summary
    assert "red because" not in merged.summary
    counts = ("completed", "failed", "remaining", "again", "landed", "commit", "round")
    assert [merged.outputs[name] for name in counts] == [
        *("0", "0", "3", "false", "false", "", "")
    ]
    assert jobs.verify(chosen, verdict).code == 0
    assert jobs.merge(chosen, FANIN_VERDICT=str(verdict)).code == 1
    assert jobs.states() == {"A": "completed", "B": "completed", "C": "failed"}


@pytest.mark.parametrize("result", ["skipped", "cancelled"])
def test_a_rerun_that_left_out_verify_goes_on_with_the_second_verification(
    jobs: Jobs, result: str
) -> None:
    """GitHub may leave out a job that a cancel skipped although it is needed."""
    start(jobs, TWO, verify="true")
    chosen = jobs.next()
    jobs.tasks(chosen)
    env = {"FANIN_VERIFY_RESULT": result, "FANIN_LAST": "false"}
    assert jobs.merge(chosen, **env).code == 3
    jobs.run_attempt = 2
    again = jobs.merge(chosen, **env)
    assert (again.code, again.outputs) == (0, {"moved": "true"})
    # The job after the second verification is the last one.
    assert jobs.merge(chosen, **{**env, "FANIN_LAST": "true"}).code == 3


def test_a_damaged_verdict_is_no_verdict(jobs: Jobs, tmp_path: Path) -> None:
    start(jobs, TWO, verify="true")
    chosen = jobs.next()
    jobs.tasks(chosen)
    verdict = tmp_path / "verdict.json"
    verdict.write_text('{"manifest": "other"}')
    before = jobs.git("rev-parse", "main")
    assert jobs.merge(chosen, FANIN_VERDICT=str(verdict)).code == 3
    assert jobs.git("rev-parse", "main") == before


# -- merge chooses the next batch --


def later_round(merged: Job) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(merged.outputs["round"])
    return document


def test_merge_chooses_the_next_batch_which_lands_without_another_next(
    jobs: Jobs,
) -> None:
    start(jobs, [*TWO, {"id": "C", "depends_on": ["A"], "do": ["append a: c"]}])
    first = jobs.next()
    jobs.tasks(first)
    merged = jobs.merge(first, FANIN_LATER_ROUNDS="4")
    assert merged.code == 0, merged.log
    assert merged.outputs["again"] == "false"
    chosen = later_round(merged)
    assert (chosen["batch"], chosen["later-rounds"]) == ("4711.2", 3)
    assert chosen["base-sha"] == jobs.git("rev-parse", "main")
    assert "Round 2 of this run starts with C" in merged.summary
    second = jobs.as_chosen(merged)
    assert {leg.code for leg in jobs.tasks(second).values()} == {0}
    last = jobs.merge(second, FANIN_LATER_ROUNDS="3")
    assert (last.code, last.outputs["round"], last.outputs["again"]) == (0, "", "false")
    assert jobs.git("log", "--format=%s", "main").splitlines()[:2] == [
        "C: do C",
        "Fan in A, B",
    ]


@pytest.mark.parametrize(
    "env",
    [
        {"FANIN_LATER_ROUNDS": "0"},
        {"FANIN_LATER_ROUNDS": "4", "FANIN_TASK_RESULT": "cancelled"},
        {"FANIN_LATER_ROUNDS": "4", "FANIN_VERIFY_RESULT": "cancelled"},
    ],
    ids=["last round", "tasks cancelled", "verify cancelled"],
)
def test_merge_leaves_the_choice_to_the_next_run(
    jobs: Jobs, env: dict[str, str]
) -> None:
    start(jobs, TWO, max_concurrent=1)
    chosen = jobs.next()
    jobs.tasks(chosen)
    merged = jobs.merge(chosen, **env)
    assert jobs.states() == {"A": "completed", "B": "pending"}
    # Job `continue` does not start after a cancel, whatever this says.
    assert (merged.outputs["round"], merged.outputs["again"]) == ("", "true")


@pytest.mark.parametrize(
    ("limits", "environ"),
    [({"max_rounds": 1}, {}), ({}, {"FANIN_MAX_ROUNDS": "1"})],
    ids=["file", "input"],
)
def test_merge_chooses_nothing_beyond_the_limits_of_the_run(
    jobs: Jobs, limits: dict[str, Any], environ: dict[str, str]
) -> None:
    start(jobs, TWO, max_concurrent=1, limits=limits)
    chosen = jobs.next(**environ)
    jobs.tasks(chosen)
    merged = jobs.merge(chosen, FANIN_LATER_ROUNDS="4")
    assert (merged.outputs["round"], merged.outputs["again"]) == ("", "true")


def test_settings_of_the_head_that_cannot_be_read_end_the_run_after_landing(
    jobs: Jobs,
) -> None:
    start(jobs, TWO, max_concurrent=1)
    chosen = jobs.next()
    jobs.tasks(chosen)
    rival(jobs, "fanin.yml", "max_concurrent: lots\n")
    merged = jobs.merge(chosen, FANIN_LATER_ROUNDS="4")
    assert merged.code == 2
    assert "fanin.yml:1: max_concurrent" in merged.log
    assert (merged.outputs["round"], merged.outputs["again"]) == ("", "false")
    assert (merged.outputs["landed"], merged.outputs["remaining"]) == ("true", "1")
    assert "**Landed:** A in" in merged.summary
    assert "## Fanin: the next round was not chosen, so the run ends" in merged.summary
    assert jobs.states() == {"A": "completed", "B": "pending"}


def test_merge_goes_by_the_settings_of_the_head_and_the_inputs_of_the_first_round(
    jobs: Jobs,
) -> None:
    tasks = [{"id": name, "do": [f"write {name}: x"]} for name in "ABCDE"]
    start(jobs, tasks, max_concurrent=1)
    chosen = jobs.next(FANIN_SCOPE="warn")
    jobs.tasks(chosen)
    settings = (jobs.project.root / "fanin.yml").read_text()
    rival(jobs, "fanin.yml", settings.replace("max_concurrent: 1", "max_concurrent: 3"))
    document = later_round(jobs.merge(chosen, FANIN_LATER_ROUNDS="4"))
    assert [item["task"] for item in document["matrix"]["include"]] == ["B", "C", "D"]
    manifest = json.loads((jobs.folder / "manifest.json").read_text())
    assert manifest["scope"] == "warn"


def plugin(folder: Path, source: str) -> str:
    """Make a package with the plan format `lines`; return the PYTHONPATH that has it."""
    info = folder / "lines-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lines\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fanin.sources]\nlines = lines:Lines\n")
    (folder / "lines.py").write_text(source)
    return f"{ROOT}:{folder}"


def test_merge_loads_no_plan_format_of_a_plugin_to_choose(
    jobs: Jobs, tmp_path: Path
) -> None:
    """The job can write, so it runs no other code."""
    start(jobs, TWO, max_concurrent=1)
    chosen = jobs.next()
    jobs.tasks(chosen)
    settings = (jobs.project.root / "fanin.yml").read_text()
    rival(jobs, "fanin.yml", f"{settings}plan: {{path: tasks.yml, source: lines}}\n")
    loaded = tmp_path / "loaded"
    path = plugin(tmp_path / "plugin", f"open({str(loaded)!r}, 'w')\n")
    merged = jobs.merge(chosen, FANIN_LATER_ROUNDS="4", PYTHONPATH=path)
    outputs = merged.outputs
    assert (outputs["round"], outputs["again"]) == ("", "true"), merged.log
    assert not loaded.exists()


def test_the_next_batch_of_a_plan_in_the_format_of_a_plugin_is_left_to_job_next(
    jobs: Jobs, tmp_path: Path
) -> None:
    jobs.environ["PYTHONPATH"] = plugin(
        tmp_path / "plugin",
        "from runner.plan.formats.native import Native\n"
        "class Lines(Native):\n"
        "    name = 'lines'\n",
    )
    start(jobs, TWO, max_concurrent=1, plan={"path": "tasks.yml", "source": "lines"})
    chosen = jobs.next()
    jobs.tasks(chosen)
    merged = jobs.merge(chosen, FANIN_LATER_ROUNDS="4")
    outputs = merged.outputs
    assert (outputs["round"], outputs["again"]) == ("", "true"), merged.log
    assert jobs.states() == {"A": "completed", "B": "pending"}


@pytest.mark.parametrize(
    ("name", "secret", "output"),
    [
        ("OPENAI_API_KEY", "B-is-a-secret", "round"),
        ("OPENAI_API_KEY", "main", "branch"),
        ("FANIN_APP_ID", "4711", "state"),
    ],
)
def test_an_output_that_github_would_drop_is_reported(
    jobs: Jobs, name: str, secret: str, output: str
) -> None:
    tasks = [
        {"id": "A", "do": ["write a: a"]},
        {"id": "B-is-a-secret", "depends_on": ["A"]},
    ]
    start(jobs, tasks)
    chosen = jobs.next()
    jobs.tasks(chosen)
    merged = jobs.merge(chosen, FANIN_LATER_ROUNDS="4", **{name: secret})
    assert name in merged.log
    assert "GitHub drops such an output" in merged.log
    assert merged.outputs["round"] == ""
    assert secret not in merged.outputs["branch"] + merged.outputs["state"]
    # Without the branch nothing can go on; the next run chooses by itself otherwise.
    assert merged.outputs["again"] == ("true" if output == "round" else "false")
    assert jobs.states()["A"] == "completed"


# -- jobs that are run again after later rounds --


def test_a_leg_starts_no_agent_for_an_attempt_that_the_branch_has_recorded(
    jobs: Jobs, tmp_path: Path
) -> None:
    start(jobs, TWO)
    chosen = jobs.next()
    jobs.task(chosen, "A")
    # A is completed, and attempt 1 of B has left no result.
    jobs.merge(chosen, FANIN_TASK_RESULT="failure")
    jobs.git("worktree", "add", "-q", str(tmp_path / "branch"), "main")
    agents = jobs.project.log.read_text()
    jobs.run_attempt = 2
    jobs.environ["FANIN_BRANCH_CHECKOUT"] = str(tmp_path / "branch")
    legs = jobs.tasks(chosen)
    assert {leg.outputs["skipped"] for leg in legs.values()} == {"true"}
    assert "no agent starts: the task is already completed" in legs["A"].log
    assert "no agent starts: this is attempt 1, but 1 attempt" in legs["B"].log
    assert jobs.project.log.read_text() == agents
    assert [path.name for path in jobs.artifacts.iterdir()] == [
        "fanin-4711.1-000-a1-r1"
    ]


def test_a_merge_that_is_run_again_goes_on_from_the_head_under_a_name_of_its_own(
    jobs: Jobs,
) -> None:
    start(jobs, [*TWO, {"id": "C", "depends_on": ["A"], "do": ["write c: c"]}])
    chosen = jobs.next()
    jobs.tasks(chosen)
    env = {
        "FANIN_LATER_ROUNDS": "4",
        "FANIN_NEXT_MANIFEST": str(jobs.folder / "next.json"),
    }
    jobs.merge(chosen, **env)
    jobs.run_attempt = 2
    again = jobs.merge(chosen, **env)
    assert (again.code, again.outputs["landed"]) == (0, "false")
    assert later_round(again)["batch"] == "4711.2.2"
    assert later_round(again)["manifest-artifact"] == "fanin-4711.2.2-manifest-r2"


def test_a_moved_branch_is_verified_once_more_and_then_held_for_a_person(
    jobs: Jobs, tmp_path: Path
) -> None:
    start(jobs, TWO, verify="true")
    chosen = jobs.next()
    jobs.tasks(chosen)
    verdict = tmp_path / "verdict.json"
    jobs.verify(chosen, verdict)
    rival(jobs, "one")
    first = jobs.merge(chosen, FANIN_VERDICT=str(verdict), FANIN_LAST="false")
    assert (first.code, first.outputs) == (0, {"moved": "true"})
    rival(jobs, "two")
    second = jobs.merge(chosen, FANIN_VERDICT=str(verdict), FANIN_LAST="true")
    # there is no API here to open the pull request with
    assert "127.0.0.1" in second.log or second.code in {1, 3}
    held = "fanin/held/4711.1"
    record = json.loads(jobs.git("show", "main:.fanin/progress.json"))["tasks"]["A"]
    assert (record["status"], record["held"]) == ("pending", held)
    assert jobs.states(held) == {"A": "completed", "B": "completed"}
    # merging it is a fast-forward
    assert jobs.git("merge-base", "main", held) == jobs.git("rev-parse", "main")
    assert jobs.next(GITHUB_RUN_ID="5000").code == 2  # held work is open work


def test_a_batch_is_not_held_because_a_person_has_said_something_meanwhile(
    jobs: Jobs, tmp_path: Path
) -> None:
    """The head differs in the progress alone from the one that was verified."""
    start(jobs, [*TWO, {"id": "C", "depends_on": ["B"]}], verify="true")
    chosen = jobs.next()
    jobs.tasks(chosen)
    verdict = tmp_path / "verdict.json"
    jobs.verify(chosen, verdict)
    held = jobs.project.cli("hold", "C")
    assert held.returncode == 0, held.stderr
    jobs.project.git("push", "-q", str(jobs.origin), "main")
    merged = jobs.merge(chosen, FANIN_VERDICT=str(verdict), FANIN_LAST="false")
    assert (merged.code, merged.outputs["landed"]) == (0, "true"), merged.log
    assert jobs.states() == {"A": "completed", "B": "completed", "C": "pending"}
    assert jobs.git("log", "-2", "--format=%s", "main") == "Fan in A, B\nHold C"


def protect_main(jobs: Jobs) -> None:
    hook = jobs.origin / "hooks" / "update"
    hook.write_text(
        '#!/bin/sh\n[ "$1" != refs/heads/main ] || { echo "GH006: Protected branch update failed" >&2; exit 1; }\n'
    )
    hook.chmod(0o755)


def verified_batch_on_a_moved_branch(jobs: Jobs, tmp_path: Path) -> tuple[Job, Path]:
    """Job `next` of a batch that has its verdict, in the file, before `main` moved."""
    start(jobs, TWO, verify="true")
    chosen = jobs.next()
    jobs.tasks(chosen)
    verdict = tmp_path / "verdict.json"
    jobs.verify(chosen, verdict)
    rival(jobs, "one")
    return chosen, verdict


def test_a_held_batch_that_the_branch_refuses_says_why_and_keeps_the_results(
    jobs: Jobs, tmp_path: Path
) -> None:
    chosen, verdict = verified_batch_on_a_moved_branch(jobs, tmp_path)
    head = jobs.git("rev-parse", "main")
    protect_main(jobs)
    merged = jobs.merge(chosen, FANIN_VERDICT=str(verdict), FANIN_LAST="true")
    assert merged.code == 3
    assert "main or fanin/held/4711.1 refused the push: " in merged.log
    assert "GH006: Protected branch update failed" in merged.log
    assert "the results are kept as artifacts" in merged.log
    assert jobs.git("rev-parse", "main") == head
    assert jobs.git("branch", "--list", "fanin/held/*") == ""


def test_a_batch_is_not_called_held_on_a_branch_that_cannot_be_pushed(
    jobs: Jobs, tmp_path: Path
) -> None:
    chosen, verdict = verified_batch_on_a_moved_branch(jobs, tmp_path)
    head = jobs.git("rev-parse", "main")
    # git cannot have both fanin and fanin/held/…
    jobs.git("branch", "fanin", "main")
    merged = jobs.merge(chosen, FANIN_VERDICT=str(verdict), FANIN_LAST="true")
    assert merged.code == 3
    assert jobs.git("rev-parse", "main") == head
    assert "the results are kept as artifacts" in merged.log
    jobs.git("branch", "-D", "fanin")
    jobs.merge(chosen, FANIN_VERDICT=str(verdict), FANIN_LAST="true")
    assert jobs.states("fanin/held/4711.1") == {"A": "completed", "B": "completed"}


def test_a_pull_request_that_cannot_be_opened_is_a_warning_and_is_tried_again(
    jobs: Jobs,
) -> None:
    start(jobs, [*TWO, {"id": "C", "depends_on": ["A"], "do": ["write c: c"]}])
    protect_main(jobs)
    chosen = jobs.next()
    jobs.tasks(chosen)
    merged = jobs.merge(chosen)  # nothing answers at the API's address
    warning = "::warning title=fanin::could not open the pull request of fanin/4711"
    assert merged.code == 0, merged.log
    assert merged.log.count(warning) == 1
    assert merged.outputs["landed"] == "true"
    state = json.loads(merged.outputs["state"])
    assert state["pull_requests"] == {"fanin/4711": "main"}
    assert "the work is on fanin/4711, without a pull request yet" in merged.summary

    again = jobs.merge(chosen)  # the job is run again
    assert (again.code, again.log.count(warning)) == (0, 1)
    assert jobs.states("fanin/4711")["A"] == "completed"

    shutil.rmtree(jobs.artifacts)
    state = json.dumps({**state, "round": 2})
    chosen = jobs.job("next", ref="fanin/4711", env={"FANIN_STATE": state})
    jobs.tasks(chosen)
    later = jobs.merge(chosen)
    assert jobs.states("fanin/4711")["C"] == "completed", later.log
    assert later.log.count(warning) == 1


def test_a_comment_that_cannot_be_written_is_a_warning(jobs: Jobs) -> None:
    start(jobs, TWO)
    state = json.dumps({"run": "4711", "pull_request": 7})
    chosen = jobs.next(FANIN_STATE=state)
    jobs.tasks(chosen)
    merged = jobs.merge(chosen)
    assert merged.code == 0, merged.log
    assert "::warning::could not comment on pull request 7" in merged.log
    assert merged.outputs["completed"] == "2"


def test_a_branch_that_refuses_the_push_moves_the_run_to_its_own_branch(
    jobs: Jobs,
) -> None:
    start(jobs, TWO)
    protect_main(jobs)
    chosen = jobs.next()
    jobs.tasks(chosen)
    merged = jobs.merge(chosen)
    assert "GH006" in merged.log
    assert jobs.states("fanin/4711") == {"A": "completed", "B": "completed"}
    jobs.run_id = "4712"
    refused = jobs.next()
    assert refused.code == 2
    assert "waits on fanin/4711" in refused.log


def test_256_entries_at_most_and_outputs_far_below_the_limit(jobs: Jobs) -> None:
    start(jobs, [{"id": f"T{i}", "do": ["x"]} for i in range(300)], max_concurrent=256)
    chosen = jobs.next()
    assert len(jobs.matrix(chosen)) == 256
    assert sum(len(value) for value in chosen.outputs.values()) < 100_000


def test_task_allowed_to_change_workflows_is_refused_without_a_token_that_may(
    jobs: Jobs,
) -> None:
    harmless = {"id": "B", "do": ["x"], "allow": ["CLAUDE.md", ".gitignore"]}
    start(jobs, [{"id": "A", "do": ["x"], "allow": [".github/**"]}, harmless])
    refused = jobs.next()
    assert "fanin-token" in refused.log
    assert "B may change" not in refused.log
    assert jobs.next(FANIN_MAY_CHANGE_WORKFLOWS="true").outputs["has-work"] == "true"


def test_the_rolling_schedule_is_refused_with_its_remedy(jobs: Jobs) -> None:
    jobs.project.plan([{"id": "A", "do": ["x"]}], schedule="rolling")
    jobs.publish()
    chosen = jobs.next()
    assert chosen.code == 2
    assert "schedule: rolling works on one machine only" in chosen.log
    assert "schedule" in chosen.log.split("set the input ")[1].split()
    assert "has-work" not in chosen.outputs
    assert jobs.next(FANIN_SCHEDULE="batch").outputs["has-work"] == "true"


def test_later_rounds_keep_every_setting_of_the_first(jobs: Jobs) -> None:
    start(jobs, [{"id": "A", "do": ["x"]}])
    given = {
        "FANIN_SCOPE": "warn",
        "FANIN_VERIFY_RETRIES": "0",
        "FANIN_LIMITS": "{files: 5}",
        "FANIN_PROTECTED": "docs/**\nvendor/**",
    }
    first = jobs.next(**given)
    jobs.next(FANIN_STATE=first.outputs["state"], FANIN_SCOPE="fail")
    manifest = json.loads((jobs.folder / "manifest.json").read_text())
    assert manifest["scope"] == "warn"
    assert manifest["verify_retries"] == 0
    assert manifest["limits"]["files"] == 5
    assert manifest["protected"] == ["docs/**", "vendor/**"]


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("FANIN_MAX_CONCURRENT", "lots", "expected an integer"),
        ("FANIN_MAX_CONCURRENT", "2.5", "expected an integer"),
        ("FANIN_MAX_CONCURRENT", "0", "expected 1 or more"),
        ("FANIN_MAX_CONCURRENT", "257", "expected 256 or less"),
        ("FANIN_MAX_ATTEMPTS", "twice", "expected an integer"),
        ("FANIN_MAX_ROUNDS", "-1", "expected 1 or more"),
        ("FANIN_MAX_COST_USD", "cheap", "expected a number"),
    ],
)
def test_number_that_the_form_let_through_is_refused_by_name(
    jobs: Jobs, variable: str, value: str, words: str
) -> None:
    jobs.project.plan([{"id": "A"}])
    jobs.publish()
    chosen = jobs.next(**{variable: value})
    assert chosen.code == 2
    assert f"{variable}: expected" in chosen.log
    assert words in chosen.log
    assert "has-work" not in chosen.outputs


def test_a_conflict_costs_no_attempt_and_its_path_is_not_shared_by_a_round_again(
    jobs: Jobs,
) -> None:
    jobs.project.write("CHANGELOG.md", "the first line\n")
    tasks = [{"id": name, "do": [f"append CHANGELOG.md: by {name}"]} for name in "ABC"]
    start(jobs, tasks, max_attempts=1, verify="true")
    chosen = jobs.next()
    jobs.tasks(chosen)
    verdict = jobs.folder / "verdict.json"
    jobs.verify(chosen, verdict)
    merged = jobs.merge(chosen, FANIN_VERDICT=str(verdict))
    assert (merged.code, merged.outputs["failed"]) == (0, "0"), merged.log
    told = "conflict with A in CHANGELOG.md; costs no attempt"
    assert f"attempt 1: {told}" in merged.summary
    rounds = []
    while (chosen := jobs.next()).outputs["has-work"] == "true":
        rounds.append([entry["task"] for entry in jobs.matrix(chosen)])
        jobs.tasks(chosen)
        jobs.verify(chosen, verdict)
        assert jobs.merge(chosen, FANIN_VERDICT=str(verdict)).code == 0
    assert rounds == [["B"], ["C"]]
    lines = jobs.git("show", "main:CHANGELOG.md").splitlines()
    assert lines == ["the first line", "by A", "by B", "by C"]
