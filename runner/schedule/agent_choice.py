"""Chooses the agent of each task: the first of its agents that no usage limit stops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from runner.core.task import AgentSettings, Task
from runner.schedule.limit_waits import LimitWaits

AgentsOf = Callable[[Task], Sequence[AgentSettings]]


class AgentChoice:
    """The agents for one choice of tasks, at one time.

    `agents_of` gives the agents of a task in the order to try them. `running` are those
    at work. Ask `may_start` for the most urgent task first: where an agent asks alone,
    that task gets it.
    """

    def __init__(
        self,
        agents_of: AgentsOf,
        waits: LimitWaits,
        running: Iterable[AgentSettings],
        now: datetime,
    ) -> None:
        self._agents_of, self._waits, self._now = agents_of, waits, now
        self._asking = {agent.label for agent in running}
        self._chosen: dict[str, AgentSettings | None] = {}
        # the limited agents of tasks that may not start
        self._awaited: set[str] = set()

    def may_start(self, task: Task) -> bool:
        """Whether an agent is free for the task."""
        if not self._waits.limits:
            return True
        return self._choose(task) is not None

    def agent_of(self, task: Task) -> AgentSettings:
        """The agent of a task that may start. InvalidInput if it has none at all."""
        if self._waits.limits:
            chosen = self._choose(task)
            if chosen is not None:
                return chosen
        return self._agents_of(task)[0]

    @property
    def next_start(self) -> tuple[datetime, str] | None:
        """When the first of the tasks that may not start now may, and its agent.

        None if none of them waits for a limit to reset.
        """
        starts = [(self._waits.limits[each].until, each) for each in self._awaited]
        return min(starts, default=None)

    def _choose(self, task: Task) -> AgentSettings | None:
        if task.id not in self._chosen:
            self._chosen[task.id] = self._first_free(self._agents_of(task))
        return self._chosen[task.id]

    def _first_free(self, agents: Sequence[AgentSettings]) -> AgentSettings | None:
        waiting = []
        for agent in agents:
            label = agent.label
            if self._waits.is_waiting(label, self._now):
                waiting.append(label)
            elif not self._waits.asks_alone(label):
                return agent
            elif label not in self._asking:
                self._asking.add(label)
                return agent
        self._awaited.update(waiting)
        return None
