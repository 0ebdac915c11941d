"""The setting `env`: plain variables that agent and verify see, and that are neither
masked nor searched for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.core.errors import InvalidInput
from tests.support.jobs import Jobs
from tests.support.project import Project

REGION = "us-east-1"
AGENT = {
    "command": ["sh", "-c", 'echo "in $AWS_REGION"; printf %s "$AWS_REGION" > region']
}
VERIFY = f'test "$AWS_REGION" = {REGION}'


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_agent_and_verify_see_plain_variables_and_work_that_names_one_lands(
    project: Project, schedule: str
) -> None:
    project.plan(
        [{"id": "A", "verify": VERIFY}],
        agent=AGENT,
        verify=VERIFY,
        env={"AWS_REGION": REGION},
        schedule=schedule,
    )
    project.run()
    assert project.states() == {"A": "completed"}
    assert project.git("show", "HEAD:region") == REGION
    (log,) = (project.root / ".git" / "fanin" / "runs").rglob("agent.log")
    assert log.read_text() == f"in {REGION}\n"


def test_without_the_setting_the_variable_is_not_passed_on(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", REGION)
    project.plan([{"id": "A"}], agent=AGENT)
    project.run()
    assert project.git("show", "HEAD:region") == ""


def test_flag_and_variable_set_plain_variables(project: Project) -> None:
    project.plan(
        [{"id": "A"}],
        agent={"command": ["sh", "-c", 'echo "$A $B $C" > seen']},
        env={"A": "1", "B": "1"},
    )
    done = project.cli(
        "run", "--env", "B=3", "--env", "C=3", env={"FANIN_ENV": "A=2\nB=2"}
    )
    assert done.returncode == 0, done.stderr
    assert project.git("show", "HEAD:seen") == "2 3 3"


def test_key_among_the_plain_variables_is_refused_before_anything_starts(
    project: Project,
) -> None:
    project.plan(
        [{"id": "A"}], agent="claude", env={"ANTHROPIC_API_KEY": "value-of-a-key"}
    )
    with pytest.raises(
        InvalidInput,
        match=r"fanin\.yml:2: env sets ANTHROPIC_API_KEY, a secret variable of claude",
    ):
        project.run()
    assert project.cli("check").returncode == 2


def test_jobs_use_the_plain_variables_that_next_froze(
    project: Project, tmp_path: Path
) -> None:
    """The input counts in job `next` alone: the others read the manifest, and later
    rounds what was handed on.
    """
    tasks: list[dict[str, Any]] = [
        {"id": "A", "verify": VERIFY},
        {"id": "B", "depends_on": ["A"]},
    ]
    project.plan(
        tasks, agent=AGENT, verify=VERIFY, env={"AWS_REGION": "eu-west-1", "OTHER": "x"}
    )
    jobs = Jobs(project, tmp_path)
    jobs.publish()
    chosen = jobs.next(FANIN_ENV=f"AWS_REGION={REGION}")
    assert chosen.outputs["env"].splitlines() == [f"AWS_REGION={REGION}", "OTHER=x"]
    leg = jobs.tasks(chosen)["A"]
    assert leg.outputs["succeeded"] == "true", leg.log
    assert f"in {REGION}" in leg.log
    verdict = tmp_path / "verdict.json"
    assert jobs.verify(chosen, verdict).code == 0
    merged = jobs.merge(chosen, FANIN_VERDICT=str(verdict))
    assert merged.code == 0, merged.log
    assert jobs.git("show", "main:region") == REGION
    state = json.loads(merged.outputs["state"])
    assert state["inputs"]["env"] == f"AWS_REGION={REGION}"
    second = jobs.next(FANIN_STATE=json.dumps({**state, "round": 2}))
    assert f"AWS_REGION={REGION}" in second.outputs["env"].splitlines()
