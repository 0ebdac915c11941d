"""The value of a variable that an agent may see never leaves its machine: not in work,
names, report, question or log.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Never

import pytest

from runner import agents
from runner.agents.environment import secret_variables
from runner.core import result_folder
from runner.core.errors import EnvironmentBroken, InvalidInput
from runner.policy.redaction import Secrets
from tests.support.attacks import Batch
from tests.support.jobs import Jobs
from tests.support.project import Project

KEY = "sk-test-0123456789/+abc"
LEAKS = {
    "content": 'printf "key=%s\\n" "$MY_KEY" > config',
    "base64": 'printf "user:%s" "$MY_KEY" | base64 -w 20 > config',
    "binary": '{ head -c 3000000 /dev/zero; printf "%s" "$MY_KEY"; head -c 100 /dev/zero; } > config',
    "name": 'echo x > "$(printf %s "$MY_KEY" | tr / _)"; printf %s "$MY_KEY" > config',
    "report": 'echo x > a; printf \'{"summary": "used %s"}\' "$MY_KEY" > "$FANIN_REPORT"',
    "question": 'echo x > a; printf "use %s?" "$MY_KEY" > .fanin/question.md',
}


def plan(project: Project, script: str, **settings: str) -> None:
    agent = {"command": ["sh", "-c", script], "env": ["MY_KEY"]}
    project.plan(
        [
            {"id": "GOOD", "do": ["write good: good"]},
            {"id": "BAD", "max_attempts": 1, "agent": agent},
        ],
        **settings,
    )


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("leak", LEAKS)
def test_leak_is_refused_in_the_leg_and_the_result_holds_no_content(
    project: Project, monkeypatch: pytest.MonkeyPatch, leak: str
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    plan(project, LEAKS[leak])
    project.run()
    assert project.states() == {"GOOD": "completed", "BAD": "failed"}
    message = project.records()["BAD"]["error"]["message"]
    assert "holds the value of MY_KEY" in message
    assert KEY not in message
    left = next((project.root / ".git" / "fanin" / "runs").glob("*/1/001"))
    assert KEY.encode() not in everything_in(left)
    assert leak in {"report", "question"} or not (left / result_folder.PACK).exists()


def test_log_is_masked_and_the_work_lands(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    plan(
        project,
        'echo "starting with $MY_KEY"; printf %s "$MY_KEY" | base64; echo x > a',
    )
    project.run()
    assert project.states() == {"GOOD": "completed", "BAD": "completed"}
    log = next(
        (project.root / ".git" / "fanin" / "runs").glob("*/1/001/agent.log")
    ).read_text()
    assert log.splitlines()[0] == "starting with ***"
    assert log.splitlines()[1].startswith("***")


def test_failure_that_repeats_a_secret_reaches_neither_progress_nor_commit(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    plan(project, 'echo "401 for $MY_KEY"; exit 1')
    project.run()
    assert project.states()["BAD"] == "failed"
    assert KEY not in project.git("log", "-p", "--all")


def test_leg_that_was_made_to_pass_a_secret_on_is_refused_by_the_fan_in(
    project: Project, tmp_path: Path
) -> None:
    """The leg does not know the value here, as if the agent had tampered with it; the
    job `merge` does.
    """
    plan(project, f"printf %s '{KEY}' > config")
    jobs = Jobs(project, tmp_path)
    jobs.publish()
    chosen = jobs.next()
    legs = jobs.tasks(chosen)
    assert legs["BAD"].outputs["succeeded"] == "true"
    done = jobs.merge(chosen, FANIN_AGENT_ENV=f"MY_KEY={KEY}")
    assert jobs.states() == {"GOOD": "completed", "BAD": "failed"}
    assert "holds the value of MY_KEY" in done.summary + done.log
    shown = done.log.replace(f"::add-mask::{KEY}", "")
    assert KEY not in shown + done.summary + json.dumps(done.outputs)
    assert "config" not in jobs.git("ls-tree", "-r", "--name-only", "main").splitlines()
    assert KEY not in jobs.git("show", "main:.fanin/progress.json")


def test_a_result_that_is_refused_for_a_secret_does_not_hold_the_rest_of_its_batch(
    project: Project, tmp_path: Path
) -> None:
    """Job `verify` has no keys, so that what it verifies has the refused work in it."""
    plan(project, f"printf %s '{KEY}' > config", verify="test -e good")
    jobs = Jobs(project, tmp_path)
    jobs.publish()
    chosen = jobs.next()
    jobs.tasks(chosen)
    verdict = tmp_path / "verdict.json"
    jobs.verify(chosen, verdict)
    environ = {"FANIN_AGENT_ENV": f"MY_KEY={KEY}", "FANIN_VERDICT": str(verdict)}
    first = jobs.merge(chosen, FANIN_LAST="false", **environ)
    assert first.outputs == {"moved": "true", "refused": "1"}
    assert "BAD holds a secret, and was verified with the other work" in first.log
    jobs.verify(chosen, verdict, FANIN_REFUSED=first.outputs["refused"])
    jobs.merge(chosen, FANIN_LAST="true", **environ)
    assert jobs.states() == {"GOOD": "completed", "BAD": "failed"}
    assert jobs.git("branch", "--list", "fanin/*") == ""


FORGED = {
    "unknown field": '{"note": "$KEY", $REST}',
    "agent": '{"agent": "$KEY", $REST}',
    "escaped summary": '{"usage": {"summary": "\\u0073$TAIL"}, $REST}',
    "failure": '{"succeeded": false, "failure": {"kind": "agent_error", "message": "x", "note": "$KEY"}, $REST}',
    "cut": '{"succeeded": false, "failure": {"kind": "agent_error", "message": "$LONG$KEY"}, $REST}',
    "other batch": '{"batch": "$KEY", $REST}',
}  # fmt: skip


def test_forged_result_with_a_secret_or_a_long_text_puts_neither_on_the_branch(
    project: Project, tmp_path: Path
) -> None:
    batch = Batch.of(project, [*FORGED, "long"], tmp_path / "batch")
    for name, text in FORGED.items():
        text = text.replace("$LONG", "m" * 1_990)
        text = text.replace("$KEY", KEY).replace("$TAIL", KEY[1:])
        batch.leave_document(name, text)
    long = (
        '{"succeeded": false, "failure": {"kind": "timeout", "message": "%s"}, $REST}'
    )
    batch.leave_document("long", long % ("m" * 240_000))
    done = batch.fan_in(Secrets({KEY: "MY_KEY"}))
    assert done.landed == ("GOOD",)
    for name in FORGED:
        assert "holds the value of MY_KEY" in done.failed[name].message
    record = project.git("show", f"{done.tip}:.fanin/progress.json")
    assert KEY[:10] not in record + str(done)
    assert len(record) < 20_000


@pytest.mark.parametrize("verify", [None, f"echo {KEY}; test ! -e A"])
def test_forged_result_is_refused_by_job_merge_and_a_verdict_is_masked(
    project: Project, tmp_path: Path, verify: str | None
) -> None:
    agent = {"command": ["sh", "-c", 'echo x > "$FANIN_TASK"']}
    project.plan([{"id": "A", "max_attempts": 1, "agent": agent}], verify=verify)
    jobs = Jobs(project, tmp_path)
    jobs.publish()
    chosen = jobs.next()
    jobs.tasks(chosen)
    if verify is None:
        (path,) = jobs.artifacts.rglob(result_folder.RESULT)
        forged = {**json.loads(path.read_bytes()), "note": KEY}
        path.write_text(json.dumps(forged))
    else:
        jobs.verify(chosen, tmp_path / "verdict.json")
    merge_environ = {
        "FANIN_AGENT_ENV": f"MY_KEY={KEY}",
        "FANIN_VERDICT": str(tmp_path / "verdict.json"),
    }
    done = jobs.merge(chosen, **merge_environ)
    assert jobs.states() == {"A": "failed"}
    record = jobs.git("show", "main:.fanin/progress.json")
    assert ("***" if verify else "holds the value of MY_KEY") in record
    shown = done.log.replace(f"::add-mask::{KEY}", "")
    assert KEY not in shown + done.summary + record + json.dumps(done.outputs)


def test_name_that_is_in_no_allow_list_is_no_secret(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    project.plan([{"id": "A", "do": [f"write a: {KEY}"]}])
    project.run()
    assert project.states() == {"A": "completed"}


# -- every key of every preset, both executors --

PRESETS = {
    preset: secret_variables(agent) for preset, agent in agents.presets().items()
}


def value_of(name: str) -> str:
    return f"value-of-{name.lower()}/+0123"


def stub(preset: str, folder: Path, resources: Path) -> str:
    """Put a program in the preset's place that writes the variable its task is named
    after into a file.

    It says what the real program said of a success, so that nothing but the search
    stands in its way. Returns PATH.
    """
    folder.mkdir()
    said = resources / "agents" / f"{preset}-ok.txt"
    program = folder / agents.presets()[preset].traits.program
    program.write_text(
        f'#!/bin/sh\neval "printf %s \\"\\$$FANIN_TASK\\"" > "leak-$FANIN_TASK"\ncat "{said}"\n'
    )
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def assert_refused(
    preset: str,
    names: tuple[str, ...],
    records: Mapping[str, dict[str, object]],
    history: str,
) -> None:
    messages = {name: json.dumps(records[name]["error"]) for name in names}
    assert [
        name for name in names if f"holds the value of {name}" not in messages[name]
    ] == []
    assert records["PLAIN"]["status"] == "completed", (
        f"the stub of {preset} can land work"
    )
    assert [name for name in names if value_of(name) in history] == []


def leaking(names: tuple[str, ...]) -> list[dict[str, object]]:
    return [{"id": name, "max_attempts": 1} for name in ("PLAIN", *names)]


@pytest.mark.parametrize("preset", PRESETS)
def test_no_key_of_a_preset_lands_on_one_machine(
    project: Project,
    tmp_path: Path,
    resources: Path,
    monkeypatch: pytest.MonkeyPatch,
    preset: str,
) -> None:
    names = PRESETS[preset]
    monkeypatch.setenv("PATH", stub(preset, tmp_path / "bin", resources))
    for name in names:
        monkeypatch.setenv(name, value_of(name))
    project.plan(leaking(names), agent=preset)
    project.run()
    assert_refused(preset, names, project.records(), project.git("log", "-p", "--all"))


@pytest.mark.parametrize("preset", PRESETS)
def test_no_key_of_a_preset_lands_on_actions(
    project: Project, tmp_path: Path, resources: Path, preset: str
) -> None:
    names = PRESETS[preset]
    project.plan(leaking(names), agent=preset, max_concurrent=len(names) + 1)
    (tmp_path / "actions").mkdir()
    jobs = Jobs(project, tmp_path / "actions")
    jobs.publish()
    jobs.environ = {
        "PATH": stub(preset, tmp_path / "bin", resources),
        "GITHUB_ACTIONS": "true",
        **{name: value_of(name) for name in names},
    }
    chosen = jobs.next()
    jobs.tasks(chosen)
    left = everything_in(jobs.artifacts)
    assert [name for name in names if value_of(name).encode() in left] == []
    jobs.merge(chosen)
    records = json.loads(jobs.git("show", "main:.fanin/progress.json"))["tasks"]
    assert_refused(preset, names, records, jobs.git("log", "-p", "--all"))


def test_job_merge_searches_for_every_key_that_a_leg_may_have_had(
    project: Project, tmp_path: Path
) -> None:
    """The legs do not know the values here, as if agents had tampered with them, and no
    task names a preset.
    """
    names = tuple(sorted({name for names in PRESETS.values() for name in names}))
    tasks = [
        {"id": name, "max_attempts": 1, "do": [f"write {name}: {value_of(name)}"]}
        for name in names
    ]
    project.plan(
        [{"id": "PLAIN", "do": ["write a: a"]}, *tasks], max_concurrent=len(names) + 1
    )
    (tmp_path / "actions").mkdir()
    jobs = Jobs(project, tmp_path / "actions")
    jobs.publish()
    chosen = jobs.next()
    legs = jobs.tasks(chosen)
    assert {leg.outputs["succeeded"] for leg in legs.values()} == {"true"}
    jobs.merge(chosen, **{name: value_of(name) for name in names})
    records = json.loads(jobs.git("show", "main:.fanin/progress.json"))["tasks"]
    # Here the plan itself holds the values.
    assert_refused(
        "none", names, records, jobs.git("log", "-p", "--all", "--", ":!tasks.yml")
    )


# -- agent-env --


def test_line_of_agent_env_reaches_the_agent_only_if_it_is_named_and_is_searched_for_all_the_same(
    project: Project, tmp_path: Path, resources: Path
) -> None:
    unnamed, named = "CLAUDE_CODE_OAUTH_TOKEN", "MY_KEY"
    sees = f'echo "${{{unnamed}-unset}} ${{#{named}}}" > seen'
    wrote = f"printf %s {value_of(unnamed)} > leak"
    project.plan(
        [
            {"id": "SEES", "agent": {"command": ["sh", "-c", sees], "env": [named]}},
            {
                "id": "LEAKS",
                "agent": {"command": ["sh", "-c", wrote]},
                "max_attempts": 1,
            },
            {"id": "NOKEY"},
        ],
        agent="claude",
    )
    jobs = Jobs(project, tmp_path)
    jobs.publish()
    jobs.environ = {
        "PATH": stub("claude", tmp_path / "bin", resources),
        "GITHUB_ACTIONS": "true",
        "FANIN_AGENT_ENV": f"{unnamed}={value_of(unnamed)}\n{named}={value_of(named)}\nSHORT=1234567\n",
    }
    chosen = jobs.next()
    legs = jobs.tasks(chosen)
    assert "not_ready" in legs["NOKEY"].log
    assert "holds the value of CLAUDE_CODE_OAUTH_TOKEN" in legs["LEAKS"].log
    assert f"::add-mask::{value_of(named)}" in legs["SEES"].log
    assert "1234567" not in legs["SEES"].log
    jobs.merge(chosen)
    assert jobs.git("show", "main:seen") == f"unset {len(value_of(named))}"


# -- keys that are too short --

SHORT_KEY = "the value of ANTHROPIC_API_KEY is shorter than 8 bytes"


def test_short_key_is_refused_before_anything_starts(
    project: Project, tmp_path: Path, resources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", stub("claude", tmp_path / "bin", resources))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "1234567")
    project.plan([{"id": "A"}], agent="claude")
    with pytest.raises(InvalidInput, match="fanin.yml:2: " + SHORT_KEY):
        project.run()
    assert SHORT_KEY in project.cli("check").stdout


def test_leg_with_a_short_key_is_not_ready(
    project: Project, tmp_path: Path, resources: Path
) -> None:
    project.plan([{"id": "A"}], agent="claude")
    jobs = Jobs(project, tmp_path)
    jobs.publish()
    jobs.environ = {
        "PATH": stub("claude", tmp_path / "bin", resources),
        "ANTHROPIC_API_KEY": "1234567",
    }
    leg = jobs.tasks(jobs.next())["A"]
    assert "not_ready" in leg.log
    assert SHORT_KEY in leg.log


def test_short_value_that_is_named_is_an_ordinary_word(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "1234567")
    plan(project, 'echo "it is $MY_KEY"; printf %s "$MY_KEY" > config')
    project.run()
    assert project.states() == {"GOOD": "completed", "BAD": "completed"}
    assert project.git("show", "HEAD:config") == "1234567"
    log = next(
        (project.root / ".git" / "fanin" / "runs").glob("*/1/001/agent.log")
    ).read_text()
    assert log == "it is 1234567\n"


def test_the_error_that_ends_a_run_is_masked(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Never:
        raise EnvironmentBroken(f"no room for {KEY}")

    monkeypatch.setenv("MY_KEY", KEY)
    plan(project, "true")
    run = project.runner()
    monkeypatch.setattr(run, "_run_task", broken)
    with pytest.raises(EnvironmentBroken, match=r"no room for \*\*\*$"):
        run()
