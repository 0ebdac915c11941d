"""The files that `fanin init` writes."""

from __future__ import annotations

import json
import shlex

TASKS = """\
# yaml-language-server: $schema=https://raw.githubusercontent.com/fanin/fanin/main/runner/schemas/tasks.schema.json
version: 1
tasks:
  - id: T1
    title: The first piece of work
    prompt: |
      What the agent should do, in your own words.
    files: ["src/**"]          # what it may change; without this line, everything that is not protected
  - id: T2
    title: Work that needs the first
    depends_on: [T1]
    prompt: |
      ...
"""

SETTINGS = """\
# yaml-language-server: $schema=https://raw.githubusercontent.com/fanin/fanin/main/runner/schemas/fanin.schema.json
plan: tasks.yml
parallel: true
max_concurrent: 3
agent:
  command: {command}
  env: []                      # secret variables the agent may see, e.g. [ANTHROPIC_API_KEY]
"""


def files(agent_command: str) -> dict[str, str]:
    """Path → text of the files to write. `agent_command` is split as a shell does."""
    return {
        "tasks.yml": TASKS,
        "fanin.yml": SETTINGS.format(command=json.dumps(shlex.split(agent_command))),
    }
