"""What the environment of an agent is made of, and the script that its command names."""

from __future__ import annotations

import pytest

from runner.agents.environment import script_of
from runner.core.task import AgentSettings


@pytest.mark.parametrize(
    ("command", "script"),
    [
        (("python3", "agent.py"), "agent.py"),
        (("python3.12", "./tools/agent.py", "-x"), "tools/agent.py"),
        (("/usr/bin/node", "agent.mjs"), "agent.mjs"),
        (("tools/agent",), "tools/agent"),
        (("./agent.sh", "x"), "agent.sh"),
        (("python3", "-m", "agent"), None),
        (("bash", "-c", "x.y"), None),
        (("bun", "run"), None),
        (("my-agent", "plan.md"), None),
        (("python3", "/opt/agent.py"), None),
        (("/opt/agent",), None),
        (("python3", "../agent.py"), None),
        (("python3",), None),
    ],
)
def test_the_script_of_a_command_is_a_file_of_the_repository(
    command: tuple[str, ...], script: str | None
) -> None:
    assert script_of(AgentSettings(command=command)) == script
