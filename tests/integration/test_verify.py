"""When `verify` is run, and when what it said before is enough."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runner.attempt import (
    preparation,
    recycling,
    trusted_times,
    workspace,
    workspace_pool,
)
from runner.attempt.recycling import NewCheckout
from runner.attempt.verify_checkouts import SpareCheckouts
from runner.attempt.workspace import Workspace
from runner.attempt.workspace_pool import WorkspacePool
from runner.core.events import Note, VerifyEnded, VerifyStarted
from runner.repo.repository import Repository
from tests.support.project import Project, Quiet
from tests.support.shell import AS_PERSON


def runs_of(log: Path) -> int:
    """How often verify was run."""
    return len(log.read_text().split())


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_tree_that_was_green_is_not_verified_again(
    project: Project, tmp_path: Path, schedule: str
) -> None:
    log = tmp_path / "verified"
    project.plan(
        [{"id": "A", "do": ["write a: a"]}, {"id": "B", "do": ["write b: red"]}],
        schedule=schedule,
        max_attempts=1,
        max_concurrent=1,
        verify=f"echo run >> {log}; ! grep -qs red a b",
        verify_retries=0,
    )
    base = project.git("rev-parse", "HEAD").strip()
    project.run()
    assert project.states() == {"A": "completed", "B": "failed"}
    # Without B's work, the tree is the one that was green with A's.
    assert runs_of(log) == 2
    project.git("reset", "-q", "--hard", base)
    project.run()
    assert project.states() == {"A": "completed", "B": "failed"}
    # That B's was red counts for nothing.
    assert runs_of(log) == 3
    project.git("reset", "-q", "--hard", base)
    project.run(verify_cache=False)
    assert runs_of(log) > 5


def test_no_agent_starts_on_a_red_base_and_no_task_pays_for_it(
    project: Project, tmp_path: Path
) -> None:
    log = tmp_path / "verified"
    project.plan(
        [{"id": name, "do": [f"write {name}: x"]} for name in "ABC"],
        verify=f"echo run >> {log}; echo two tests fail; test -e green",
        verify_base="check",
        max_attempts=1,
    )
    before = project.git("rev-parse", "HEAD")
    done = project.cli("run", "--schedule", "rolling")
    assert done.returncode == 3, done.stderr
    assert "\ntwo tests fail\n" in done.stderr
    assert "--verify-base ignore" in done.stderr
    assert not project.log.exists()  # which agents write
    assert project.git("rev-parse", "HEAD") == before
    assert runs_of(log) == 2  # once more, as it could have been flaky

    # The next run starts from nothing, and the green base is not verified twice.
    project.write("green", "")
    project.commit("fixed by a person")
    assert project.cli("run", "A").returncode == 0
    assert project.cli("run", "B").returncode == 0
    assert runs_of(log) == 5
    assert project.states() == {"A": "completed", "B": "completed", "C": "pending"}


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_no_agent_starts_on_a_branch_that_a_person_made_red_meanwhile(
    project: Project, tmp_path: Path, schedule: str
) -> None:
    done = tmp_path / "done"
    breaks_it = (
        f"touch {done}; cd {project.root}; echo > bad; git add bad; "
        f"git {AS_PERSON} commit -qm bad"
    )
    project.plan(
        [
            {"id": "A", "do": ["write a: a"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ],
        verify=f"if [ -e a ] && [ ! -e {done} ]; then {breaks_it}; else ! [ -e bad ]; fi",
        verify_base="check",
        sandbox="off",
    )
    ended = project.cli("run", "--schedule", schedule)
    assert "main is red without the work of any task; fix it" in ended.stdout
    assert ended.returncode == 1
    begun = [json.loads(line)["task"] for line in project.log.read_text().splitlines()]
    assert begun.count("A") == 2, begun  # its begin and its end
    assert project.subjects()[0] == "bad"

    project.git("rm", "-q", "bad")
    project.commit("fixed by a person")
    assert project.cli("run", "--schedule", schedule).returncode == 0
    assert project.records()["A"]["attempts"] == 1


def test_the_line_break_at_the_end_of_a_command_is_no_part_of_the_reason(
    project: Project,
) -> None:
    project.plan(
        [{"id": "A", "do": ["write a: a"]}], verify="! test -e a\n", max_attempts=1
    )
    assert "! test -e a  its work is kept at" in project.cli("run").stdout
    assert project.records()["A"]["error"]["message"].endswith(": ! test -e a")


def test_a_base_that_cannot_be_set_up_is_not_said_to_be_red(project: Project) -> None:
    project.plan(
        [{"id": "A", "do": ["write a: a"]}],
        setup="echo no space >&2; false",
        verify="true",
        verify_base="check",
    )
    done = project.cli("run", "--schedule", "rolling")
    assert done.returncode == 3, done.stderr
    said = done.stderr[done.stderr.index("fanin: ") :]
    assert "cannot be set up\nverify was not started: setup failed" in said
    assert "\nno space\n" in said
    # The agents' checkouts need it too.
    assert "--verify-base ignore" not in said
    assert "fanin doctor" in said
    assert not project.log.exists()  # which agents write


def test_a_result_is_verified_on_top_of_one_that_is_still_being_verified(
    project: Project, tmp_path: Path
) -> None:
    slots, waited = tmp_path / "slots", 30.0
    # Green once two trees are being verified.
    both_started = f"test $(wc -l <{slots}) -ge 2 && exit 0"
    project.plan(
        [
            {"id": "A", "do": ["write a: x"]},
            {"id": "B", "do": ["sleep 1", "write b: x"]},
        ],
        schedule="rolling",
        max_concurrent=2,
        verify_concurrent=2,
        verify=f"echo $FANIN_SLOT >>{slots}; for i in $(seq {waited * 10:.0f}); "
        f"do {both_started}; sleep 0.1; done; false",
        verify_retries=0,
    )
    observer = Quiet()
    project.run(observer)
    assert project.states() == {"A": "completed", "B": "completed"}
    verified = [each for each in observer.events if isinstance(each, VerifyStarted)]
    assert [each.tasks for each in verified] == [("A",), ("A", "B")]
    assert len(set(slots.read_text().split())) == 2


def test_what_is_verified_on_top_of_a_red_tree_is_ended_at_once(
    project: Project, tmp_path: Path
) -> None:
    begun, over = tmp_path / "begun", tmp_path / "over"
    on_top = f"touch {begun}; sleep 60; touch {over}; exit"
    red = f"for i in $(seq 300); do test -e {begun} && break; sleep 0.1; done; exit 1"
    project.plan(
        [
            {"id": "A", "do": ["write a: x"]},
            {"id": "B", "do": ["sleep 1", "write b: x"]},
        ],
        schedule="rolling",
        max_attempts=1,
        max_concurrent=2,
        verify_concurrent=2,
        verify=f"test -e a || exit 0; if test -e b; then {on_top}; fi; {red}",
        verify_retries=0,
    )
    observer = Quiet()
    project.run(observer)
    assert project.states() == {"A": "failed", "B": "completed"}
    assert not over.exists()
    ended = [each for each in observer.events if isinstance(each, VerifyEnded)]
    [on_top_of_red] = [each.failure for each in ended if each.tasks == ("A", "B")]
    assert on_top_of_red is not None
    assert on_top_of_red.kind == "interrupted"


def test_the_next_tree_is_verified_in_a_checkout_that_was_made_in_advance(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_pool, "_MIN_CHECKOUT_TIME", 0.0)
    monkeypatch.setattr(workspace_pool, "_MIN_FILES", 0)
    moved: list[tuple[str, str]] = []
    move = workspace.moved

    def noted(spare: Workspace, base: str, folder: Path, branch: str) -> Workspace:
        if branch == "fanin/verify":
            moved.append((spare.base, base))
        return move(spare, base, folder, branch)

    monkeypatch.setattr(workspace, "moved", noted)
    project.plan(
        [
            {"id": "A", "do": ["sleep 0.5", "write a: x"]},
            {"id": "B", "do": ["sleep 0.5", "write b: x"], "depends_on": ["A"]},
        ],
        schedule="rolling",
        max_attempts=1,
        verify="ls | grep -qx a && git status --porcelain | grep -c . | grep -qx 0",
        verify_retries=0,
    )
    project.run()
    assert project.states() == {"A": "completed", "B": "completed"}
    # Until the first one is made, nobody knows whether that takes long.
    [(before, after)] = moved
    assert before != after


def test_a_checkout_for_verify_in_which_an_agent_wrote_is_not_used(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(workspace_pool, "_MIN_CHECKOUT_TIME", 0.0)
    monkeypatch.setattr(workspace_pool, "_MIN_FILES", 0)
    origin = Repository(project.root, os.environ).origin
    head = project.git("rev-parse", "HEAD").strip()
    with WorkspacePool(origin, tmp_path, lambda _: "") as pool:
        spares = SpareCheckouts(pool)
        spares.create(origin, head, tmp_path / "first", 0)
        spares.prewarm(1, head)
        pool._begin(int).result()  # after it
        [spare] = pool._spares
        (spare.checkout / "new").write_text("")
        (tmp_path / "second").mkdir()
        used = spares.create(origin, head, tmp_path / "second", 0)
    assert used.checkout.is_dir()
    assert not (used.checkout / "new").exists()


@pytest.mark.parametrize("kept", [0, 1])
def test_what_the_last_run_of_verify_leaves_over_is_removed_while_it_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: int
) -> None:
    monkeypatch.setattr(workspace_pool, "_MIN_CHECKOUT_TIME", -1.0)
    monkeypatch.setattr(workspace_pool, "_MIN_FILES", 0)
    origin = Repository(project.root, os.environ).origin
    head = project.git("rev-parse", "HEAD").strip()
    with WorkspacePool(origin, tmp_path, lambda _: "", 8) as pool:
        spares = SpareCheckouts(pool)
        spares.create(origin, head, tmp_path / "first", 0)
        spares.prewarm(3, head)
        pool._begin(int).result()
        spares.keep(kept)
        folders = [spare.folder for spare in pool._spares]
        (tmp_path / "last").mkdir()
        spares.create(origin, head, tmp_path / "last", 0)
        pool._begin(int).result()
        assert sum(folder.exists() for folder in folders) == kept


CHAIN = [
    {"id": "A", "do": ["write a: x"]},
    {"id": "B", "do": ["write b: x"], "depends_on": ["A"]},
    {"id": "C", "do": ["write c: x"], "depends_on": ["B"]},
]


def test_the_checkout_of_the_last_run_of_verify_is_not_made_as_new(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_pool, "_MIN_CHECKOUT_TIME", -1.0)
    monkeypatch.setattr(workspace_pool, "_MIN_FILES", 0)
    recycled: list[str] = []

    def recycle(new: NewCheckout) -> Workspace | None:
        recycled.append(new.workspace.folder.name)
        return recycling.recycled(new)

    monkeypatch.setattr(workspace_pool, "recycled", recycle)
    # Until the clock has moved on, a spare keeps the background from making others as
    # new: for a second, in which all of this run may end.
    monkeypatch.setattr(trusted_times, "seconds_until_trusted", lambda _: 0.0)
    # One slot, so that no workspace is prepared ahead.
    project.plan(
        CHAIN,
        schedule="rolling",
        max_concurrent=1,
        verify="true",
        verify_base="ignore",
    )
    project.run()
    assert set(project.states().values()) == {"completed"}
    # those of A and B
    assert recycled.count("space") == 2


@pytest.fixture
def _any_set_up_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "SLOW_SETUP", -1.0)


def verified_in_pooled_checkouts(
    project: Project, log: Path, plan: list[dict[str, Any]]
) -> list[str]:
    """Run the plan; a line for each run of set-up, and for each of verify the files that
    it found and the number of its slot.
    """
    project.write(".gitignore", "deps/\nbuilt\n")
    project.write("package-lock.json", "1\n")
    project.commit()
    project.plan(
        plan,
        schedule="rolling",
        workspace="pooled",
        max_attempts=1,
        setup=f"mkdir deps && cp package-lock.json deps/ && echo set-up >> {log}",
        # what it leaves and changes would be seen by the next
        verify=(
            f"test -e deps/package-lock.json && echo $FANIN_SLOT $(ls) >> {log}; "
            "touch built new; echo changed > a; mkdir -p dir/er; git add -A; "
            "git commit -qm mine"
        ),
        verify_base="ignore",
        verify_retries=0,
    )
    project.run()
    return log.read_text().splitlines()


@pytest.mark.usefixtures("_any_set_up_is_slow")
def test_with_pooled_workspaces_verify_finds_its_checkout_as_set_up_left_it(
    project: Project, tmp_path: Path
) -> None:
    lines = verified_in_pooled_checkouts(project, tmp_path / "log", CHAIN)
    assert project.states() == {"A": "completed", "B": "completed", "C": "completed"}
    # one for the agents, one for verify
    assert lines.count("set-up") == 2
    runs = [line.split() for line in lines if line != "set-up"]
    slots = {slot for slot, *_ in runs}
    files = [set(names) - {"fanin.yml"} for _, *names in runs]
    always = {"README.md", "deps", "package-lock.json", "tasks.yml"}
    assert len(slots) == 1
    assert files == [always | {"a"}, always | {"a", "b"}, always | {"a", "b", "c"}]


@pytest.mark.usefixtures("_any_set_up_is_slow")
def test_with_pooled_workspaces_verify_is_set_up_again_where_that_may_differ(
    project: Project, tmp_path: Path
) -> None:
    plan = [CHAIN[0], {**CHAIN[1], "do": ["write package-lock.json: 2"]}]
    lines = verified_in_pooled_checkouts(project, tmp_path / "log", plan)
    assert project.states() == {"A": "completed", "B": "completed"}
    assert lines.count("set-up") == 3


def test_verify_is_set_up_anew_where_that_takes_no_time(
    project: Project, tmp_path: Path
) -> None:
    lines = verified_in_pooled_checkouts(project, tmp_path / "log", CHAIN)
    assert project.states() == {"A": "completed", "B": "completed", "C": "completed"}
    assert lines.count("set-up") == 4


def test_a_flaky_test_is_named_at_the_end_and_by_the_commands_that_look(
    project: Project, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    project.plan(
        [{"id": "A", "do": ["write a: x"]}],
        verify=f"test -e {flag} || {{ touch {flag}; echo not ok 1 - writes; false; }}",
    )
    observer = Quiet()
    project.run(observer)
    assert project.states() == {"A": "completed"}
    flaky = "flaky: writes was red and then green on the same tree; last"
    notes = [each.message for each in observer.events if isinstance(each, Note)]
    assert any(note.startswith(flaky) for note in notes)
    assert flaky in project.cli("status").stdout
    assert f"! {flaky}" in project.cli("doctor", "--no-run").stdout
