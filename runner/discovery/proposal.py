"""What `fanin init` proposes: plan, agent, set-up and verify, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from runner.agents import Agent
from runner.agents.environment import find_key
from runner.core.task import AgentSettings
from runner.discovery.files import Files, Found
from runner.discovery.toolchains import toolchains
from runner.plan.finder import FoundPlan

# Lines of a .gitignore that keep Python's bytecode out of commits.
_IGNORED_BYTECODE = re.compile(
    r"^/?(?:\*\*/)?(?:__pycache__|\*\.py(?:c|\[co\w*\]|\*))", re.MULTILINE
)


@dataclass(frozen=True)
class FoundAgent:
    """A preset, and what this machine has of it.

    `install` is the command that installs its program if it is not on PATH, else None.
    `key` is where its key or login is, or None.
    """

    name: str
    program: str
    key: str | None
    install: str | None = None

    def describe(self) -> str:
        """Whether the program can be used here."""
        if self.install is not None:
            return f"{self.program} is not installed here:  {self.install}"
        if self.key is None:
            return f"{self.program} is installed, but has neither a key nor a login"
        return f"{self.program} is installed, its key or login is {self.key}"


@dataclass(frozen=True)
class Proposal:
    """What fanin.yml will say.

    `plan` is None if there is no plan yet. `agent` is a preset's name, `command` a
    command line; neither if no agent was found. `notes` are about the repository, `env`
    has variables for agent, set-up and verify, each with its reason.
    """

    plan: FoundPlan | None
    agent: FoundAgent | None
    command: tuple[str, ...] = ()
    setup: Found | None = None
    verify: Found | None = None
    others: tuple[Found, ...] = ()
    notes: tuple[str, ...] = ()
    env: Mapping[str, Found] = field(default_factory=dict)


def find_agents(
    presets: Mapping[str, Agent],
    environ: Mapping[str, str],
    which: Callable[[str], object],
) -> list[FoundAgent]:
    """The presets whose program is installed, those with a key or login first.

    `which` looks up a program on PATH, like `shutil.which`.
    """
    found = []
    for name, agent in presets.items():
        if which(agent.traits.program):
            found.append(describe_agent(name, agent, environ, which))
    return sorted(found, key=lambda agent: agent.key is None)


def describe_agent(
    name: str,
    agent: Agent,
    environ: Mapping[str, str],
    which: Callable[[str], object],
) -> FoundAgent:
    """The preset, installed or not."""
    program = agent.traits.program
    key = find_key(agent, AgentSettings(preset=name), environ)
    install = None if which(program) else agent.traits.install
    return FoundAgent(name, program, key, install)


def propose(
    files: Files,
    plan: FoundPlan | None,
    agent: FoundAgent | None,
    command: tuple[str, ...] = (),
) -> Proposal:
    """The proposal for a repository with these files."""
    chains = toolchains(files)
    setup = chains[0].setup if chains else None
    tests = [chain.test for chain in chains if chain.test is not None]
    verify = tests[0] if tests else None
    notes = tuple(_notes(files))
    env = {}
    if any(chain.name == "Python" for chain in chains):
        env = _python_variables(files)
    others = tuple(tests[1:])
    return Proposal(plan, agent, command, setup, verify, others, notes, env)


def _python_variables(files: Files) -> dict[str, Found]:
    """No bytecode where git would see it: it would be a part of each task's change."""
    if _IGNORED_BYTECODE.search(files.read(".gitignore")):
        return {}
    reason = ".gitignore" if ".gitignore" in files else "no .gitignore"
    return {"PYTHONDONTWRITEBYTECODE": Found("1", reason, "bytecode is not ignored")}


def _notes(files: Files) -> Iterator[str]:
    if ".gitmodules" in files:
        yield "submodules: a checkout has those whose commits are in this clone"
    if "filter=lfs" in files.read(".gitattributes"):
        yield "Git LFS: a checkout has the files whose content is in this clone"
