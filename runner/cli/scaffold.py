"""The files that `fanin init` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from runner.core.message_text import one_line

if TYPE_CHECKING:
    from runner.discovery.files import Found
    from runner.discovery.proposal import Proposal

SETTINGS_PATH = "fanin.yml"
PLAN_PATH = "tasks.yml"
WORKFLOW_PATH = ".github/workflows/fanin.yml"

_SCHEMAS = "https://raw.githubusercontent.com/fanin/fanin/main/runner/schemas"
_PLAN = f"""\
# yaml-language-server: $schema={_SCHEMAS}/tasks.schema.json
# A first plan, to see fanin at work. Replace it with your own tasks.
version: 1
tasks:
  - id: T1
    title: Start a page about this project
    prompt: |
      Create the file OVERVIEW.md. Say in a few sentences what this project is, from what you read in its files.
    files: [OVERVIEW.md]       # what the task may change; without this line, everything that is not protected
  - id: T2
    title: List the folders
    depends_on: [T1]
    prompt: |
      Add a section "Folders" to OVERVIEW.md: one line for each folder at the top level, with what it holds.
    files: [OVERVIEW.md]
"""
_NO_AGENT = """\
# No agent was found on PATH. Name a preset (claude, codex, gemini, opencode, copilot,
# aider; see  fanin agents), or any program that works in its current folder:
# agent: claude
# agent: {command: [my-agent, --print], env: [MY_AGENT_KEY]}
"""
# Longer reasons do not help.
_MAX_REASON = 100


def plan_text() -> str:
    """A small plan that every agent can complete in every repository."""
    return _PLAN


def settings_text(proposal: Proposal) -> str:
    """The text of fanin.yml: each setting with its reason as a comment."""
    return "\n".join([*_settings_lines(proposal), ""])


# The end of the workflow, and what it is for an agent of which fanin knows no key.
_SECRETS = """    secrets:
      ANTHROPIC_API_KEY: ${{ secrets.ANTHROPIC_API_KEY }}
"""
_NO_SECRETS = """    # What the agent needs, if anything; agent.env in fanin.yml names the variables.
    # secrets:
    #   agent-env: |
    #     MY_API_KEY=${{ secrets.MY_API_KEY }}
"""


def workflow_text(proposal: Proposal) -> str:
    """The workflow that runs this plan with this agent from the Actions tab."""
    from importlib import resources

    from runner import agents

    template = resources.files("runner.cli").joinpath("templates/dispatch.yml")
    text = template.read_text(encoding="utf-8")
    plan = proposal.plan.path if proposal.plan else PLAN_PATH
    text = text.replace("default: tasks.yml}", f"default: {json.dumps(plan)}}}")
    if proposal.agent is None:
        return text.replace(_SECRETS, _NO_SECRETS)
    traits = agents.presets()[proposal.agent.name].traits
    if traits.install:
        text = text.replace('echo "install your agent here"', traits.install)
    return text.replace("ANTHROPIC_API_KEY", traits.keys[0])


def _settings_lines(proposal: Proposal) -> Iterator[str]:
    yield f"# yaml-language-server: $schema={_SCHEMAS}/fanin.schema.json"
    if proposal.plan is None:
        yield f"plan: {PLAN_PATH}"
    else:
        yield _comment(proposal.plan.describe())
        yield f"plan: {_scalar(proposal.plan.path)}"
    yield ""
    yield "# Agents run at the same time, each in a checkout of its own."
    yield "parallel: true"
    yield "max_concurrent: 3"
    yield ""
    yield from _agent_lines(proposal)
    if proposal.env:
        yield ""
        yield "# Variables for the agent, setup and verify."
        yield "env:"
        for name, found in proposal.env.items():
            yield f"  {_comment(f'Source: {found.reason}')}"
            yield f"  {name}: {json.dumps(found.command)}"
    if proposal.setup is not None:
        yield ""
        yield "# Prepares each checkout, before the agent and before verify."
        yield from _command_lines("setup", proposal.setup)
    if proposal.verify is not None:
        yield ""
        yield "# The merged work lands only if this succeeds."
        yield from _command_lines("verify", proposal.verify)
    if _gains_from_rolling(proposal):
        yield ""
        yield "# Tasks of this plan would wait for others of their batch. On this machine a task"
        yield "# can start as soon as what it depends on is merged:"
        yield "# schedule: rolling"
    for other in proposal.others:
        yield _comment(f"also found, {other.reason}: {other.command}")
    for note in proposal.notes:
        yield ""
        yield _comment(note)


def _gains_from_rolling(proposal: Proposal) -> bool:
    """Whether tasks would start earlier, and what is merged meanwhile is verified."""
    plan, verify = proposal.plan, proposal.verify
    return (
        plan is not None and plan.has_barriers and verify is not None and verify.is_sure
    )


def _agent_lines(proposal: Proposal) -> Iterator[str]:
    if proposal.agent is not None:
        yield _comment(proposal.agent.describe())
        yield f"agent: {_scalar(proposal.agent.name)}"
    elif proposal.command:
        yield "agent:"
        yield f"  command: {json.dumps(proposal.command, ensure_ascii=False)}"
        yield "  env: []    # secret variables that it may see, e.g. [ANTHROPIC_API_KEY]"
    else:
        yield _NO_AGENT.removesuffix("\n")


def _command_lines(setting: str, found: Found) -> Iterator[str]:
    yield _comment(f"Source: {found.reason}")
    line = f"{setting}: {_scalar(found.command)}"
    if found.is_sure:
        yield line
    else:
        yield "# A guess; if it is right, remove the #:"
        yield f"# {line}"


def _comment(text: str) -> str:
    """One line of a comment. The text may quote a stranger's file."""
    line = one_line(text)
    if len(line) > _MAX_REASON:
        line = f"{line[:_MAX_REASON]}…"
    return f"# {line}"


def _scalar(text: str) -> str:
    """The text as a YAML value on one line."""
    import yaml

    if not text.isprintable():
        return json.dumps(text)
    dumped: str = yaml.safe_dump(text, width=10**6, allow_unicode=True)
    # A document of one word ends with a line `...`.
    return dumped.partition("\n")[0]


def diff(path: str, text: str) -> Sequence[str]:
    """The lines of a diff that adds the file."""
    import difflib

    lines = text.splitlines()
    return [*difflib.unified_diff([], lines, "/dev/null", path, lineterm="")]
