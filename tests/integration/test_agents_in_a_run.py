"""What a run makes of its agents: rate limits, money, keys, prompts; and what `fanin
agents` and `check` say.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from runner.agents import preset_names, prompt
from runner.core.errors import InvalidInput
from runner.repo import origin
from runner.schedule import backoff
from tests.support.jobs import Jobs
from tests.support.project import AGENT, Project, Quiet, most_at_once
from tests.support.virtual_clock import VirtualClock

LIMITED = 'report {"status": "rate_limited"}'


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_PAUSE", 0.01)


def _cost(usd: float) -> str:
    return "report " + json.dumps({"cost_usd": usd})


@pytest.mark.usefixtures("_quick")
def test_rate_limits_cost_no_attempt_and_lower_how_many_run_at_once(
    project: Project,
) -> None:
    project.plan([{"id": f"T{n}", "do": [LIMITED]} for n in range(4)], max_concurrent=4)
    seen = Quiet()
    ended = project.run(seen)
    assert [len(batch) for batch in seen.batches] == [4, 2, 1, 1, 1, 1, 1]
    assert ended.stop_reason is not None
    assert "refused 7 rounds in a row" in ended.stop_reason
    assert project.git("rev-parse", "HEAD") == project.git("rev-parse", "main")
    assert ".fanin/progress.json" not in project.git("ls-files"), (
        "nothing was counted, so nothing is recorded"
    )
    assert sum("waiting" in note for note in seen.notes) == 6


class _BusyMachine(VirtualClock):
    """Each look at it takes seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = timedelta(seconds=seconds)

    def now(self) -> datetime:
        self.time += self._seconds
        return self.time


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
@pytest.mark.parametrize("seconds", [1, 2, 5])
def test_a_pause_that_is_over_when_the_run_looks_at_it_does_not_end_the_run(
    project: Project, schedule: str, seconds: float
) -> None:
    project.plan([{"id": "A", "do": [LIMITED]}], schedule=schedule)
    ended = project.run(Quiet(), clock=_BusyMachine(seconds))
    assert ended.stop_reason is not None
    assert "refused 7 rounds in a row" in ended.stop_reason


@pytest.mark.usefixtures("_quick")
def test_what_is_not_limited_goes_on_beside_it(project: Project) -> None:
    project.plan(
        [{"id": "A", "do": [LIMITED]}, {"id": "B", "do": ["write b: b"]}],
        max_concurrent=2,
    )
    ended = project.run(Quiet())
    assert project.states() == {"A": "pending", "B": "completed"}
    assert ended.stop_reason is not None


def test_no_more_agents_start_than_the_money_bears(project: Project) -> None:
    tasks = [
        {"id": f"T{n}", "do": [f"write f{n}: x", "sleep 0.2", _cost(0.4)]}
        for n in range(6)
    ]
    project.plan(tasks, max_concurrent=2, limits={"max_cost_usd": 1.5})
    seen = Quiet()
    ended = project.run(seen)
    assert [len(batch) for batch in seen.batches] == [2, 1], (
        "0.8 are spent: one more of 0.4 fits, two do not"
    )
    assert most_at_once(project.intervals()) == 2
    assert (
        ended.stop_reason
        == "limits.max_cost_usd: $1.20 of $1.50 spent, and an attempt has cost up to $0.40"
    )
    assert any("may not report its cost" in note for note in seen.notes)


def test_an_agent_that_tells_no_cost_spends_its_share(project: Project) -> None:
    project.plan(
        [{"id": f"T{n}", "do": [f"write f{n}: x"]} for n in range(3)],
        max_concurrent=2,
        limits={"max_cost_usd": 1.0},
    )
    seen = Quiet()
    ended = project.run(seen)
    assert [len(batch) for batch in seen.batches] == [2]
    assert ended.stop_reason == "limits.max_cost_usd: $1.00 of $1.00 spent"
    assert "cost_usd" not in project.records()["T0"]


def test_a_cap_that_cannot_be_kept_and_an_agent_that_is_not_there_are_refused_before_anything_runs(
    project: Project, tmp_path: Path
) -> None:
    project.plan([{"id": "T1"}], agent="codex", limits={"max_cost_usd": 1.0})
    runner = project.runner()
    runner._environ = {"PATH": "/nowhere", "HOME": str(tmp_path)}
    with pytest.raises(InvalidInput) as caught:
        runner()
    told = str(caught.value)
    assert (
        "fanin.yml:2: limits.max_cost_usd cannot be enforced: codex never reports its cost"
        in told
    )
    assert (
        "the agent's program 'codex' is not installed on this machine; install it:  npm install -g @openai/codex"
        in told
    )
    assert "no key for codex: CODEX_API_KEY or OPENAI_API_KEY is not set" in told


def _bare(tmp_path: Path) -> dict[str, str]:
    keys = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "CODEX_API_KEY", "GEMINI_API_KEY")
    return {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **dict.fromkeys(keys, "")}


def test_check_and_agents_say_what_is_missing(project: Project, tmp_path: Path) -> None:
    project.plan([{"id": "T1"}], agent="codex")
    checked = project.cli("check", env=_bare(tmp_path))
    assert checked.returncode == 0
    assert (
        "warning: fanin.yml:2: the agent's program 'codex' is not installed on this machine"
        in checked.stdout
    )
    listed = project.cli("agents", env=_bare(tmp_path))
    assert listed.returncode == 0, listed.stderr
    for name in ("claude", "codex", "gemini", "opencode", "copilot", "aider"):
        assert f"✘ {name}: not installed, key: none" in listed.stdout
    (tmp_path / "claude").write_text("#!/bin/sh\necho 9.9.9 of a test\n")
    (tmp_path / "claude").chmod(0o755)
    there = {
        **_bare(tmp_path),
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "ANTHROPIC_API_KEY": "the-key-of-a-test",
    }
    assert (
        "✔ claude: 9.9.9 of a test, key: ANTHROPIC_API_KEY"
        in project.cli("agents", env=there).stdout
    )


@pytest.mark.parametrize(
    "name",
    [
        "GITHUB_TOKEN",
        "ACTIONS_RUNTIME_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "GITHUB_ENV",
    ],
)
def test_what_would_let_an_agent_act_as_the_job_is_refused_by_name(
    project: Project, name: str
) -> None:
    project.write("fanin.yml", f"agent:\n  command: [x]\n  env: [{name}]\n")
    told = project.cli("check")
    assert told.returncode == 2
    assert "fanin.yml:3:" in told.stderr
    assert f"{name} is never passed to an agent" in told.stderr


def test_a_secret_is_masked_in_all_that_is_kept(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "s3cret-value-of-a-key"
    monkeypatch.setenv("MY_SECRET", secret)
    do = ["write a: a", "print it is " + "$MY_SECRET"]
    script = (
        "import os,subprocess,sys; print(os.environ['MY_SECRET'], flush=True); open('a','w').write('x'); "
        "open(os.environ['FANIN_REPORT'],'w').write('{\"summary\": \"used ' + os.environ['MY_SECRET'] + '\"}')"
    )
    agent = {"command": [sys.executable, "-c", script], "env": ["MY_SECRET"]}
    project.plan([{"id": "T1", "do": do, "max_attempts": 1}], agent=agent)
    seen = Quiet()
    project.run(seen)
    assert seen.results["T1", 1].usage.summary == "used ***"
    # a report that holds a secret is refused, like a file
    assert seen.results["T1", 1].failure is not None
    logs = list((project.root / ".git" / "fanin").rglob("agent.log"))
    assert [log.read_text() for log in logs] == ["***\n"]
    assert secret not in project.git("log", "-p")


def test_the_prompt_tells_what_the_dependencies_changed(project: Project) -> None:
    project.plan(
        [
            {
                "id": "A",
                "title": "Lay the ground",
                "do": ["write src/a.py: one", 'report {"summary": "laid it"}'],
            },
            {
                "id": "B",
                "depends_on": ["A"],
                "acceptance": ["it stands"],
                "files": ["b"],
                "do": [
                    "expect - A: Lay the ground",
                    "expect laid it",
                    "expect src/a.py +1 -0",
                    "expect - it stands",
                    "write b: b",
                ],
            },
        ]
    )
    project.run(Quiet())
    assert project.states() == {"A": "completed", "B": "completed"}
    shown = project.cli("task", "B", "--show-prompt")
    assert shown.returncode == 0, shown.stderr
    assert (
        "This task builds on work that is already done:\n\n- A: Lay the ground\n  laid it\n  src/a.py +1 -0\n"
        in shown.stdout
    )


def test_a_template_of_ones_own_is_used_and_no_task_can_change_it(
    project: Project,
) -> None:
    project.write(
        "prompts/task.md",
        "Dear robot, $title.\n\n$prompt\n\n$dependencies\n\n${files} for $$5\n",
    )
    project.plan(
        [
            {
                "id": "T1",
                "title": "build it",
                "do": ["expect Dear robot, build it.", "expect for $5", "write a: a"],
            },
            {"id": "T2", "do": ["append prompts/task.md: more"]},
        ],
        prompt_template="prompts/task.md",
        max_attempts=1,
    )
    project.run(Quiet())
    assert project.states() == {"T1": "completed", "T2": "failed"}
    project.write("prompts/task.md", "one\n$nonsense\n")
    told = project.cli("check")
    assert told.returncode == 2
    assert "prompts/task.md:2: unknown placeholder $nonsense" in told.stderr


@pytest.fixture
def jobs(project: Project, tmp_path: Path) -> Jobs:
    return Jobs(project, tmp_path)


def test_what_is_spent_goes_on_to_the_next_round_of_jobs(jobs: Jobs) -> None:
    tasks = [{"id": f"T{n}", "do": [f"write f{n}: x", _cost(0.4)]} for n in range(3)]
    jobs.project.plan(tasks, max_concurrent=2, limits={"max_cost_usd": 1.0})
    jobs.publish()
    first = jobs.next()
    assert len(jobs.matrix(first)) == 2
    jobs.tasks(first)
    merged = jobs.merge(first)
    state = json.loads(merged.outputs["state"])
    assert (state["spent_usd"], state["dearest_usd"], state["limited"]) == (
        pytest.approx(0.8),
        0.4,
        0,
    )
    second = jobs.next(FANIN_STATE=json.dumps({**state, "round": 2}))
    assert second.outputs["has-work"] == "false"
    assert "limits.max_cost_usd: $0.80 of $1.00 spent" in second.log


def test_a_rate_limit_asks_for_another_round_of_fewer_jobs(jobs: Jobs) -> None:
    jobs.project.plan(
        [{"id": f"T{n}", "do": [LIMITED]} for n in range(4)], max_concurrent=4
    )
    jobs.publish()
    first = jobs.next()
    jobs.tasks(first)
    merged = jobs.merge(first)
    assert merged.outputs["again"] == "true"
    state = json.loads(merged.outputs["state"])
    assert (state["slots"], state["limited"]) == (2, 1)
    given = json.loads(first.outputs["state"])
    last = jobs.merge(
        first, FANIN_STATE=json.dumps({**given, "limited": backoff.MOST_ROUNDS - 1})
    )
    assert last.outputs["again"] == "false"
    assert (
        len(jobs.matrix(jobs.next(FANIN_STATE=json.dumps({**state, "round": 2})))) == 2
    )


def test_a_leg_on_actions_gives_a_preset_no_token_and_a_home_of_its_own(
    jobs: Jobs, tmp_path: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    answer = '{"type": "result", "result": "done", "usage": {}}'
    script = f"#!/bin/sh\nenv | sed s/key-of-the-job/the-key/ > seen\necho '{answer}'\n"
    (tools / "claude").write_text(script)
    (tools / "claude").chmod(0o755)
    jobs.project.plan([{"id": "T1"}], agent="claude")
    jobs.publish()
    runtime = (
        "GITHUB_TOKEN",
        "ACTIONS_RUNTIME_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "GITHUB_ENV",
        "GITHUB_PATH",
    )
    jobs.environ = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "ANTHROPIC_API_KEY": "key-of-the-job",
        "GITHUB_ACTIONS": "true",
        **dict.fromkeys(runtime, "leaked"),
    }
    chosen = jobs.next()
    leg = jobs.tasks(chosen)["T1"]
    assert leg.outputs["succeeded"] == "true", leg.log
    jobs.merge(chosen)
    seen = dict(
        line.partition("=")[::2] for line in jobs.git("show", "main:seen").splitlines()
    )
    assert seen["ANTHROPIC_API_KEY"] == "the-key"
    assert not {name for name in seen if name.startswith(("GITHUB_", "ACTIONS_"))}
    assert seen["HOME"].endswith("/home")
    assert seen["CLAUDE_CONFIG_DIR"] == seen["HOME"] + "/.claude"
    assert AGENT.exists()


def test_a_leg_without_the_program_or_the_key_costs_no_attempt(jobs: Jobs) -> None:
    jobs.project.plan([{"id": "T1"}], agent="codex")
    jobs.publish()
    jobs.environ = {
        "GITHUB_ACTIONS": "true",
        "OPENAI_API_KEY": "",
        "CODEX_API_KEY": "",
        "PATH": "/usr/bin:/bin",
    }
    chosen = jobs.next()
    leg = jobs.tasks(chosen)["T1"]
    assert "not_ready" in leg.log
    assert "npm install -g @openai/codex" in leg.log
    merged = jobs.merge(chosen)
    assert (merged.outputs["again"], merged.outputs["commit"]) == ("false", "")


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/plain/objects", b"/plain/objects\n"),
        ("/a b#c/objects", b"/a b#c/objects\n"),
        ('/a"b', b'"/a\\042b"\n'),
        ("/ä", b'"/\\303\\244"\n'),
        ("/a\nb", b'"/a\\012b"\n'),
    ],
)
def test_borrowed_objects_are_named_as_other_git_libraries_can_read_it(
    path: str, written: bytes
) -> None:
    """Regression: gitdb takes quotes in objects/info/alternates for a part of the path,
    and aider ended at once.
    """
    assert origin.alternates([Path(path)]) == written


# Notes what it was given, on standard input or in a file, and says what the real program
# says when it has succeeded.
PROGRAM = """\
#!/bin/sh
if [ "$1" = --message-file ]; then exec < "$2"; fi
cat > {name}.prompt
cat {recording}
"""


def test_the_longest_prompt_is_whole_in_every_preset(
    project: Project, tmp_path: Path, resources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets = preset_names()
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name in presets:
        recording = resources / "agents" / f"{name}-ok.txt"
        program = bin_folder / name
        program.write_text(PROGRAM.format(name=name, recording=recording))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    for key in ("ANTHROPIC", "OPENAI", "CODEX", "GEMINI"):
        monkeypatch.setenv(f"{key}_API_KEY", f"a-dummy-key-of-{key}")
    monkeypatch.setenv("COPILOT_GITHUB_TOKEN", "a-dummy-token-of-copilot")
    start = "größe:\n\n\n    a = '$x ${y} $$'\t\\ `z`\n"
    rest = prompt.MAX_TASK_BYTES - len((start + "T").encode())
    text = start + "x" * rest
    tasks = [
        {"id": name, "title": "T", "prompt": text, "agent": name} for name in presets
    ]
    project.plan(tasks, max_concurrent=len(tasks))
    seen = Quiet()
    project.run(seen)
    for name in presets:
        assert project.states()[name] == "completed", seen.results
        given = project.git("show", f"HEAD:{name}.prompt")
        assert given.startswith(f"# {name}: T\n\n{text}\n\n")
    # One byte more, and none of them starts.
    project.plan([{**tasks[0], "id": "more", "prompt": text + "x"}])
    refused = project.cli("run")
    assert refused.returncode == 2
    assert "its text has 400,001 bytes" in refused.stderr
