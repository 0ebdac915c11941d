"""A task job installs and loads little, and takes its secrets from one place."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from runner.actions.job_secrets import read_agent_env
from runner.actions.workflow_io import JobIO
from runner.core.errors import UsageProblem

_LIST_MODULES = """
import sys
import runner.actions.round_state, runner.actions.task_job
print(*sys.modules)
"""


def test_a_task_job_loads_no_merge_and_no_library_that_it_does_not_install() -> None:
    listed = subprocess.run(
        [sys.executable, "-c", _LIST_MODULES],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(listed.stdout.split())
    assert "runner.pipeline" in loaded
    packages = {".".join(name.split(".")[:2]) for name in loaded}
    assert not packages & {"runner.fan_in", "runner.github_api", "runner.local"}
    assert not loaded & {
        "runner.actions.merge_job",
        "runner.actions.next_job",
        "runner.actions.publisher",
        "runner.plan.graph",
    }
    assert not loaded & {"git", "github", "networkx", "requests", "rich"}


def test_values_of_agent_env_are_masked_unless_they_are_short() -> None:
    stream = io.StringIO()
    lines = "A=long-enough-secret\n\n B = short\nC=with=equals-sign\n"
    variables = read_agent_env({"FANIN_AGENT_ENV": lines}, JobIO({}, stream))
    assert variables == {
        "A": "long-enough-secret",
        "B": " short",
        "C": "with=equals-sign",
    }
    assert stream.getvalue().splitlines() == [
        "::add-mask::long-enough-secret",
        "::add-mask::with=equals-sign",
    ]


@pytest.mark.parametrize("line", ["s3cret-value", "1NAME=s3cret-value", "=s3cret"])
def test_a_damaged_agent_env_is_refused_without_being_quoted(line: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        read_agent_env({"FANIN_AGENT_ENV": line}, JobIO({}, io.StringIO()))
    assert "the secret agent-env has a line that is not NAME=value" in str(caught.value)
    assert "s3cret" not in str(caught.value)
