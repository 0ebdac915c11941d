"""The agent Protocol: what an agent needs, how it is started, how its result is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from runner.core.manifest import BatchEntry
from runner.core.result import Failure, Usage
from runner.core.task import AgentSettings
from runner.sandbox.rules import TEMPORARY

if TYPE_CHECKING:
    from runner.agents.process import Outcome

_NONE: Mapping[str, str] = MappingProxyType({})


class Costs(StrEnum):
    """The degree to which `limits.max_cost_usd` can be enforced for an agent."""

    # The agent stops by itself at a limit given on its command line.
    CAPPED = "capped"
    # The agent reports what it spent when it ends.
    REPORTED = "reported"
    # The agent may report what it spent, as any command may.
    OPTIONAL = "optional"
    # The agent never reports what it spent.
    UNKNOWN = "unknown"


class Traits(NamedTuple):
    """Static facts about an agent.

    program: the executable's name; empty if the settings give the command.
    keys: secret variables that authenticate the agent; one of them must be set.
    secrets: further secret variables, which do not authenticate by themselves.
    variables: plain variables such as addresses, folders and switches.
    aliases: variable → the variable whose value it takes while it is unset.
    logins: files below HOME that an interactive login leaves behind.
    state: folders and files below HOME that it writes to, logins among them.
    steering: what in them the person's own sessions obey, so that it must not write
        there: settings, hooks, instructions.
    homes: variable naming the agent's own folder → that folder's name below HOME.
    own_temporary: whether an isolated home has a TMPDIR of its own.
    install: the shell command that installs the program.
    costs: how well a cost limit can be enforced.
    supports_max_turns: whether the agent can limit its turns.
    sandboxes_itself: whether it puts up a sandbox, which it is told not to within walls.
    silent: whether it prints nothing while its model thinks, even if it streams.
    """

    program: str = ""
    keys: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    aliases: Mapping[str, str] = _NONE
    logins: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    steering: tuple[str, ...] = ()
    homes: Mapping[str, str] = _NONE
    own_temporary: bool = False
    install: str = ""
    costs: Costs = Costs.UNKNOWN
    supports_max_turns: bool = False
    sandboxes_itself: bool = False
    silent: bool = False


class AttemptFolder(NamedTuple):
    """The folder of one attempt. Only changes in `checkout` are captured.

    The agent may write to `checkout`, `own` and `home`, and to nothing else of it.
    `is_walled`: it runs within fanin's walls, so that a sandbox of its own cannot start.
    """

    path: Path
    is_walled: bool = False

    @property
    def checkout(self) -> Path:
        """The agent's working directory."""
        return self.path / "checkout"

    @property
    def own(self) -> Path:
        """The folder of what passes between fanin and the agent: within walls that of its
        temporary files, which is there already if set-up has run.
        """
        return self.path / (TEMPORARY if self.is_walled else "own")

    @property
    def prompt(self) -> Path:
        """The file with the prompt."""
        return self.own / "fanin-prompt.md"

    @property
    def report(self) -> Path:
        """The file `$FANIN_REPORT`, which need not exist."""
        return self.own / "fanin-report.json"

    @property
    def stdout(self) -> Path:
        """The file with the agent's standard output; the last STDOUT_LIMIT bytes count."""
        return self.path / "stdout"

    @property
    def home(self) -> Path:
        """The home folder of an isolated agent."""
        return self.path / "home"


class Invocation(NamedTuple):
    """The command of one attempt. Its standard input is the prompt file.

    argv: the command line.
    env: default variables; the user's allow-listed variables override them.
    files: path → text, written below an isolated home before the agent starts.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = _NONE
    files: Mapping[str, str] = _NONE


class Verdict(NamedTuple):
    """The agent's own account of an attempt: a failure or None, and its usage."""

    failure: Failure | None
    usage: Usage


class Agent(Protocol):
    """One kind of agent.

    `build` returns what to start for one attempt. It is pure: it starts and writes
    nothing.

    `read` returns the verdict, from how the program ended and what it printed. It never
    raises for what an agent printed and never searches free text for words.
    """

    name: str
    traits: Traits

    def build(self, entry: BatchEntry, folder: AttemptFolder) -> Invocation: ...

    def read(self, outcome: Outcome, folder: AttemptFolder) -> Verdict: ...


def is_isolated(settings: AgentSettings, *, on_actions: bool) -> bool:
    """Whether the agent gets an empty home folder of its own.

    On a person's machine, a preset is expected to use that person's login. On Actions
    there is none, and what an earlier step left in the home folder (hooks, MCP servers,
    memories) must not steer an agent.
    """
    if settings.home is not None:
        return settings.home == "isolated"
    return on_actions and settings.preset is not None
