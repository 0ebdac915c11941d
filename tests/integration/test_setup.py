"""The setting `setup` prepares every checkout: the agent's and that of verify."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.project import Project, Quiet

TOKEN = "s3cr3t-registry-token-of-setup"


def shell_task(command: str, task_id: str = "A", **fields: Any) -> dict[str, Any]:
    """A task whose agent is a shell command."""
    return {"id": task_id, "agent": {"command": ["sh", "-c", command]}, **fields}


def test_agent_and_verify_find_what_setup_made(project: Project) -> None:
    project.write(".gitignore", "tools/\n")
    project.plan(
        [shell_task("cp tools/made a", verify="test -e tools/made")],
        setup="mkdir tools\necho $LEVEL > tools/made",
        verify="test -e tools/made && test -e a",
        env={"LEVEL": "3"},
    )
    project.run()
    assert project.states() == {"A": "completed"}
    assert project.git("show", "HEAD:a") == "3"


def test_what_setup_writes_is_not_the_tasks_change(project: Project) -> None:
    for name in ("lock", "old", "shared"):
        project.write(name, "base\n")
    project.plan(
        [shell_task("echo agent >> shared; echo anew > rebuilt; echo agent > a")],
        setup="echo setup > lock; rm old; echo setup >> shared; touch built rebuilt",
    )
    seen = Quiet()
    project.run(seen)
    assert project.states() == {"A": "completed"}
    assert any("rebuilt is made by setup" in note for note in seen.notes)
    changed = project.git("diff", "--name-only", "HEAD^", "HEAD").splitlines()
    assert changed == [".fanin/progress.json", "a", "shared"]
    assert project.git("show", "HEAD:shared") == "base\nsetup\nagent"


def test_an_agent_that_changes_nothing_after_setup_changed_nothing(
    project: Project,
) -> None:
    project.write("lock", "base\n")
    project.plan([shell_task("true", max_attempts=1)], setup="echo setup > lock")
    project.run()
    assert "the agent changed nothing" in project.records()["A"]["error"]["message"]


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        ("echo no network; false; true", "setup failed (exit status 1)"),
        ("sleep 60", "setup exceeded its time limit of 1 s"),
    ],
)
def test_a_failing_setup_starts_no_agent_and_costs_no_attempt(
    project: Project, setup: str, message: str
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}], setup=setup, setup_timeout="1s")
    seen = Quiet()
    outcome = project.run(seen)
    assert project.intervals() == []
    for batch in seen.fan_ins:
        assert message in batch.failed["A"].message
        assert not batch.failed["A"].counted
    assert outcome.stop_reason


def test_only_setup_sees_its_secret(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", TOKEN)
    monkeypatch.setenv("OTHER_TOKEN", "an-unrelated-token")
    project.write(".gitignore", "seen\n")
    unseen = 'test -z "$REGISTRY_TOKEN"'
    project.plan(
        [shell_task(f"{unseen} && grep -q registry seen && echo a > a", verify=unseen)],
        setup='test -z "$OTHER_TOKEN" && echo "$REGISTRY_TOKEN" > seen',
        setup_env=["REGISTRY_TOKEN"],
        verify=unseen,
    )
    project.run()
    assert project.states() == {"A": "completed"}


def test_a_result_with_a_secret_of_setup_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", TOKEN)
    project.write(".gitignore", "seen\n")
    project.plan(
        [shell_task("cp seen a; cat seen", max_attempts=1)],
        setup='echo "$REGISTRY_TOKEN" > seen; cat seen',
        setup_env=["REGISTRY_TOKEN"],
    )
    project.run()
    record = project.records()["A"]
    assert "a holds the value of REGISTRY_TOKEN" in record["error"]["message"]
    logs = list(project.root.glob(".git/fanin/**/*.log"))
    assert all(TOKEN not in log.read_text() for log in logs)


def test_work_on_which_setup_fails_is_red(project: Project) -> None:
    project.plan(
        [
            shell_task("echo a > broken", max_attempts=1),
            {"id": "B", "do": ["write b: b"]},
        ],
        setup="test ! -e broken",
        verify="true",
    )
    project.run()
    assert project.states() == {"A": "failed", "B": "completed"}
    message = project.records()["A"]["error"]["message"]
    assert message == "verify was not started: setup failed (exit status 1)"


def test_where_setup_fails_on_the_branch_too_no_task_is_to_blame(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    marker = tmp_path_factory.mktemp("machine") / "used"
    project.plan(
        [{"id": "A", "do": ["write a: a"]}],
        # only the first checkout, the agent's, can be prepared
        setup=f"test ! -e {marker} && touch {marker}",
        verify="true",
    )
    seen = Quiet()
    project.run(seen)
    failure = seen.fan_ins[0].failed["A"]
    assert "verify was not started: setup failed" in failure.message
    assert "red without this work too" in failure.message
    assert not failure.counted


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_what_runs_at_once_has_different_slots(
    project: Project, tmp_path_factory: pytest.TempPathFactory, schedule: str
) -> None:
    held = tmp_path_factory.mktemp("held")
    # only one program at a time can make this folder
    hold = f"mkdir {held}/$FANIN_SLOT && sleep 0.2 && rmdir {held}/$FANIN_SLOT"
    project.write(".gitignore", "slot\n")
    work = f'{hold} && test "$(cat slot)" = "$FANIN_SLOT" && echo x > $FANIN_TASK'
    project.plan(
        [shell_task(work, name, max_attempts=1) for name in "ABCD"],
        setup="echo $FANIN_SLOT > slot",
        verify=f"{hold} && test $FANIN_SLOT -le 2",
        schedule=schedule,
        max_concurrent=2,
    )
    project.run()
    assert set(project.states().values()) == {"completed"}


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_pooled_checkouts_are_set_up_once_each_and_land_the_same_work(
    project: Project, tmp_path_factory: pytest.TempPathFactory, schedule: str
) -> None:
    runs = tmp_path_factory.mktemp("machine") / "runs"
    project.write(".gitignore", "tools/\ndata/\n")
    project.write("data/x", "from the person's work tree\n")
    # longer than the other task's start: both slots are in use
    work = (
        "grep -q made tools/made && grep -q person data/x && sleep 0.3 && "
        "ls > $FANIN_TASK && echo x > tools/x"
    )
    project.plan(
        [
            shell_task(work, "A"),
            shell_task(work, "B"),
            shell_task(f"! test -e tools/x && {work}", "C", depends_on=["A", "B"]),
            shell_task(f"! test -e tools/x && {work}", "D", depends_on=["A", "B"]),
        ],
        setup=f"echo $PWD >> {runs}; mkdir tools; echo made > tools/made",
        include=["data/"],
        workspace="pooled",
        schedule=schedule,
        max_concurrent=2,
    )
    project.run()
    assert set(project.states().values()) == {"completed"}
    assert len(runs.read_text().splitlines()) == 2
    seen = project.git("show", "HEAD:D").split()
    assert {"A", "B", "D", "tools"} <= set(seen)
    assert "C" not in seen


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_an_attempt_takes_a_slot_that_has_a_checkout(
    project: Project, schedule: str
) -> None:
    runs = project.root.parent / "runs"
    work = "echo $FANIN_SLOT > $FANIN_TASK"
    project.plan(
        [
            shell_task(work, "A"),
            shell_task(f"sleep 0.5; {work}", "B"),
            # more urgent than D: it has the first choice
            shell_task(f"sleep 0.5; {work}", "C", depends_on=["A"]),
            shell_task(work, "D", depends_on=["A"]),
            shell_task(work, "E", depends_on=["B", "C", "D"]),
        ],
        setup=f"echo $FANIN_SLOT >> {runs}",
        workspace="pooled",
        schedule=schedule,
        max_concurrent=3,
    )
    project.run()
    assert set(project.states().values()) == {"completed"}
    count = 3 if schedule == "rolling" else 2
    assert sorted(runs.read_text().split()) == [f"{slot}" for slot in range(count)]
    if schedule == "rolling":
        assert project.git("show", "HEAD:C") == "0"


def test_a_test_runner_that_an_agent_made_green_is_used_by_nobody_else(
    project: Project,
) -> None:
    project.write(".gitignore", "tools/\n")
    project.plan(
        [
            shell_task(
                "echo true > tools/run; echo a > broken; exit 1", max_attempts=1
            ),
            shell_task("echo true > tools/run; echo b > broken", "B", max_attempts=1),
            shell_task("sh tools/run && echo c > c", "C", depends_on=["D"]),
            shell_task("echo true > tools/run; echo d > d", "D"),
        ],
        setup="mkdir tools; echo 'test ! -e broken' > tools/run",
        verify="sh tools/run",
        workspace="pooled",
        parallel=False,
    )
    project.run()
    assert project.states() == {
        "A": "failed",
        "B": "failed",
        "C": "completed",
        "D": "completed",
    }
