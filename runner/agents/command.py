"""Any command as an agent (`agent: {command: [...]}`).

The agent contract is described in docs/settings.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.agents.base import AttemptFolder, Costs, Invocation, Traits, Verdict
from runner.core.manifest import BatchEntry

# `fanin check` asks what an agent needs and starts none.
if TYPE_CHECKING:
    from runner.agents.process import Outcome


class Command:
    """Runs the configured command line; reads its exit status and its report."""

    name = "command"
    traits = Traits(costs=Costs.OPTIONAL)

    def build(self, entry: BatchEntry, folder: AttemptFolder) -> Invocation:
        return Invocation(argv=list(entry.agent.command or ()))

    def read(self, outcome: Outcome, folder: AttemptFolder) -> Verdict:
        from runner.agents.command_report import read_verdict

        return read_verdict(outcome, folder)
