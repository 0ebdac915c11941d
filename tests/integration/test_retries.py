"""A retry goes on with the work of the attempt before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.crashes import die_after
from tests.support.project import Project, Quiet

BOTH_SCHEDULES = pytest.mark.parametrize("schedule", ["batch", "rolling"])
KEPT = ("for-each-ref", "--format=%(refname)", "refs/fanin/kept")
# Notes its prompt and its files, and does what the lines of its prompt say that begin
# with the number of the attempt.
SCRIPT = """
seen="{folder}/$FANIN_TASK.$FANIN_ATTEMPT"
cat >"$seen.prompt"
git ls-files -c -o >"$seen.files"
eval "$(sed -n "s/^$FANIN_ATTEMPT: //p" "$seen.prompt")"
"""


class Agents:
    """Tasks of scripted agents, and what each agent has seen."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project, self.folder = project, folder

    def run(
        self,
        tasks: Mapping[str, list[str]],
        observer: Quiet | None = None,
        fields: Mapping[str, Mapping[str, Any]] | None = None,
        **settings: Any,
    ) -> None:
        """Run the tasks: id → for each attempt, what its agent does in a shell."""
        self.plan(tasks, fields, **settings)
        self.project.run(observer)

    def plan(
        self,
        tasks: Mapping[str, list[str]],
        fields: Mapping[str, Mapping[str, Any]] | None = None,
        **settings: Any,
    ) -> None:
        entries = []
        for task_id, scripts in tasks.items():
            lines = [f"{number}: {text}" for number, text in enumerate(scripts, 1)]
            own = (fields or {}).get(task_id, {})
            entries.append({"id": task_id, "do": lines, **own})
        script = SCRIPT.format(folder=self.folder)
        self.project.plan(entries, agent={"command": ["sh", "-c", script]}, **settings)

    def prompt(self, attempt: str) -> str:
        text = (self.folder / f"{attempt}.prompt").read_text()
        return " ".join(text.split())

    def files(self, attempt: str) -> list[str]:
        names = (self.folder / f"{attempt}.files").read_text().split()
        return [name for name in names if name.islower()]


@pytest.fixture
def agents(project: Project, tmp_path: Path) -> Agents:
    folder = tmp_path / "seen"
    folder.mkdir()
    project.write(".gitignore", "*.o\n")
    project.commit()
    return Agents(project, folder)


@BOTH_SCHEDULES
def test_a_task_goes_on_after_a_conflict_with_both_sides_and_its_prompt_says_so(
    project: Project, schedule: str
) -> None:
    project.write("shared", "first\n")
    does = {
        task_id: [f"append shared: line of {task_id}", f"write own-{task_id}: x"]
        for task_id in ("A", "B")
    }
    does["B"].append("sleep 0.5")
    tasks = [{"id": task_id, "do": lines} for task_id, lines in does.items()]
    project.plan(tasks, schedule=schedule, max_concurrent=2)
    project.run()
    assert set(project.states().values()) == {"completed"}
    shared = (project.root / "shared").read_text().splitlines()
    assert shared == ["first", "line of A", "line of B"]
    assert project.records()["B"]["attempts"] == 2
    assert "kept" not in project.records()["B"]
    # of no use any more
    assert project.git(*KEPT) == ""


@BOTH_SCHEDULES
def test_what_a_retry_starts_from_after_each_kind_of_failure(
    agents: Agents, schedule: str
) -> None:
    tasks = {
        "crash": ["echo 1 >crash; echo x >crash.o; exit 3", "echo 2 >>crash"],
        "slow": ["echo 1 >slow; sleep 60", "echo 2 >>slow"],
        "red": ["echo 1 >red", "echo 2 >>red"],
        "guarded": ["echo 1 >guarded; echo 1 >AGENTS.md", "echo 2 >>guarded"],
        "wide": ["echo 1 >wide; echo 1 >other; exit 3", "echo 2 >>wide"],
        "forced": ["echo 1 >forced.o; git add -f forced.o; exit 3", "true"],
        "anew": ["echo 1 >anew; exit 3", "echo 2 >>anew"],
    }
    fields: dict[str, dict[str, Any]] = {name: {"max_attempts": 2} for name in tasks}
    fields["slow"]["timeout"] = "2s"
    fields["red"]["verify"] = "test $(wc -l <red) = 2"
    fields["wide"]["files"] = ["wide"]
    fields["anew"]["retry_from"] = "base"
    seen = Quiet()
    agents.run(tasks, seen, fields, schedule=schedule, max_concurrent=7)
    project = agents.project
    assert set(project.states().values()) == {"completed"}
    content = {
        name: project.git("show", f"HEAD:{name}").split()
        for name in ("crash", "slow", "red", "guarded", "wide", "forced.o", "anew")
    }
    assert content == {
        "crash": ["1", "2"],
        "slow": ["1", "2"],
        "red": ["1", "2"],
        "guarded": ["2"],
        "wide": ["2"],
        "forced.o": ["1"],
        "anew": ["2"],
    }
    assert "The work of attempt 1 is in the current folder" in agents.prompt("crash.2")
    assert "Go on from it: crash." in agents.prompt("crash.2")
    # what git ignores is never carried on
    assert "crash.o" not in agents.files("crash.2")
    assert "slow" in agents.files("slow.2")
    assert "is in the current folder" not in agents.prompt("guarded.2")
    reason = "starts without this work: other is outside the task's files"
    assert reason in agents.prompt("wide.2")
    assert project.git("ls-tree", "HEAD", "other", "AGENTS.md") == ""
    assert project.git(*KEPT) == ""


def test_after_two_attempts_from_work_that_fail_alike_the_next_starts_from_the_base(
    agents: Agents,
) -> None:
    agents.run(
        {
            "poisoned": [
                "touch bad one; exit 3",
                "touch two; test ! -e bad",
                "touch three; test ! -e bad",
                "touch four; test ! -e bad",
            ]
        },
        max_attempts=4,
    )
    assert agents.project.states() == {"poisoned": "completed"}
    assert {"bad", "one", "two"} <= set(agents.files("poisoned.3"))
    assert "bad" not in agents.files("poisoned.4")
    assert agents.project.git("ls-files", "bad", "one", "four") == "four"


@BOTH_SCHEDULES
def test_markers_that_are_left_are_refused_and_plain_lines_are_not(
    agents: Agents, schedule: str
) -> None:
    agents.project.write("a", "first\n")
    agents.run(
        {
            "quick": ["echo quick >>a"],
            "late": [
                "sleep 0.5; echo late >>a",
                "echo done >b",
                "sed -i '/fanin: /d' a; echo again >>b",
            ],
        },
        schedule=schedule,
        max_concurrent=2,
    )
    project = agents.project
    assert project.states() == {"quick": "completed", "late": "completed"}
    assert "conflict markers with `fanin:` in them are in: a" in agents.prompt("late.2")
    refusal = "The previous one failed (conflict): conflict markers are left in a"
    assert refusal in agents.prompt("late.3")
    # it goes on with the files as they were left
    assert "conflict markers with `fanin:` in them are in: a" in agents.prompt("late.3")
    assert project.git("show", "HEAD:b").split() == ["done", "again"]
    lines = project.git("show", "HEAD:a").splitlines()
    assert lines == ["first", "quick", "=======", "late"]


def test_conflicts_without_markers_are_named_with_both_versions(agents: Agents) -> None:
    agents.project.write("gone", "".join(f"{n}\n" for n in range(20)))
    agents.project.write("bin", "\0base")
    agents.run(
        {
            "quick": ["rm gone; printf '\\0quick' >bin"],
            "late": ["sleep 0.5; echo late >>gone; printf '\\0late' >bin", "touch x"],
        },
        max_concurrent=2,
    )
    prompt = agents.prompt("late.2")
    project = agents.project
    late = project.git("hash-object", "gone")
    own = f"mode 100644, `git cat-file -p {late}`"
    assert f"- gone: branch: not there; attempt 1: {own}" in prompt
    quick = project.git("rev-parse", "HEAD~1:bin")
    assert (
        f"- bin: branch: mode 100644, `git cat-file -p {quick}`; attempt 1:" in prompt
    )
    assert "in the folder: that of attempt 1" in prompt
    assert "in the folder: the branch's" in prompt


def test_work_that_is_gone_or_may_not_land_any_more_is_left_out_with_the_reason(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "a-value-that-is-a-secret-by-now"
    seen = Quiet()
    agents.plan(
        {
            "gone": ["touch g; exit 3", "touch g2"],
            "late": ["touch l; exit 3", "touch l2"],
            "large": ["touch m1 m2 m3; exit 3", "touch m4"],
            "leaky": [f"echo {secret} >k; exit 3", "touch k2"],
        },
        max_attempts=1,
        max_concurrent=4,
    )
    project = agents.project
    project.run()
    records = project.records()
    assert {record["kept"]["attempt"] for record in records.values()} == {1}
    gone, late = (records[name]["kept"]["commit"] for name in ("gone", "late"))
    refs = project.git("for-each-ref", "--format=%(refname) %(objectname)", KEPT[2])
    kept_by = {line.split()[1]: line.split()[0] for line in refs.splitlines()}
    project.git("update-ref", "-d", kept_by[gone])
    project.git("reflog", "expire", "--expire=now", "--all")
    project.git("gc", "-q", "--prune=now")
    settings = (project.root / "fanin.yml").read_text()
    settings = settings.replace("agent:\n", "agent:\n  env: [SINCE]\n")
    more = "protected: [l]\nlimits: {files: 2}\n"
    project.write("fanin.yml", settings + more)
    monkeypatch.setenv("SINCE", secret)
    project.commit()
    project.run(seen, max_attempts=2)
    assert set(project.states().values()) == {"completed"}
    assert project.git("rev-parse", "-q", "--verify", late) == late
    without = "The work of attempt 1 is not in the current folder"
    assert without in agents.prompt("gone.2")
    assert "it is not in this repository" in agents.prompt("gone.2")
    assert without in agents.prompt("late.2")
    assert "l is a protected path" in agents.prompt("late.2")
    assert "limits.files" in agents.prompt("large.2")
    assert "k holds the value of SINCE" in agents.prompt("leaky.2")
    warnings = [note for note in seen.notes if "without the work of attempt 1" in note]
    assert len(warnings) == 4
    assert not project.git("ls-files", "g", "l", "m1", "k")


@BOTH_SCHEDULES
def test_a_task_that_turned_the_merged_work_red_goes_on_with_its_work(
    agents: Agents, schedule: str
) -> None:
    agents.run(
        {"good": ["touch good"], "bad": ["touch own bad", "rm bad; touch second"]},
        schedule=schedule,
        verify="test ! -e bad",
        max_concurrent=2,
    )
    assert set(agents.project.states().values()) == {"completed"}
    assert {"own", "bad"} <= set(agents.files("bad.2"))
    assert agents.project.git("ls-files", "own", "bad", "second").split() == [
        "own",
        "second",
    ]


def test_set_up_neither_sees_the_work_nor_is_taken_for_it(agents: Agents) -> None:
    setup = "test ! -e own; echo generated >made; echo local >>.gitignore"
    agents.run(
        {"a": ["touch own; exit 3", "test -e made && touch second"]}, setup=setup
    )
    project = agents.project
    assert project.records()["a"]["attempts"] == 2
    assert project.git("ls-files", "own", "second", "made").split() == ["own", "second"]
    assert project.git("show", "HEAD:.gitignore") == "*.o"


@BOTH_SCHEDULES
def test_kept_work_is_deleted_where_the_run_has_moved_to_a_branch_of_its_own(
    agents: Agents, schedule: str
) -> None:
    tasks = {"a": ["echo a >a"], "b": ["touch b; exit 3", "touch second"]}
    agents.plan(tasks, schedule=schedule, max_concurrent=2)
    agents.project.write("a", "in the way")
    agents.project.run()
    (branch,) = agents.project.git(
        "for-each-ref", "--format=%(refname)", "refs/heads/fanin"
    ).split()
    assert set(agents.project.states(branch).values()) == {"completed"}
    assert "b" in agents.files("b.2")
    assert agents.project.git(*KEPT) == ""


@pytest.mark.parametrize("moment", ["fanned-in", "landing"])
def test_a_run_that_is_killed_leaves_the_work_to_the_next_one(
    agents: Agents, moment: str
) -> None:
    agents.plan({"a": ["touch own; exit 3", "touch second"]})
    die_after(agents.project.runner(), moment)
    agents.project.run()
    assert agents.project.states() == {"a": "completed"}
    assert "own" in agents.files("a.2")
