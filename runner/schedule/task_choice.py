"""The tasks that a run may start: all of them, or those that a person named."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from runner.core.errors import UsageProblem
from runner.core.fanin_commands import typed
from runner.core.plurals import some_of
from runner.core.task import Standing

if TYPE_CHECKING:
    from runner.plan.snapshot import Snapshot

_NAMED = 5  # how many tasks a refusal names


class TaskChoice:
    """`ids` are those of the tasks that may start; None for every task of the plan."""

    def __init__(self, ids: frozenset[str] | None = None) -> None:
        self.ids = ids

    def __contains__(self, task_id: str) -> bool:
        return self.ids is None or task_id in self.ids

    def standings(self, snapshot: Snapshot, max_attempts: int) -> dict[str, Standing]:
        """Task id → standing, in plan order. A task that may not start is stuck."""
        standings = snapshot.progress.standings(snapshot.plan, max_attempts)
        if self.ids is None:
            return standings
        for task_id, standing in standings.items():
            if standing.may_run and task_id not in self.ids:
                standings[task_id] = Standing.STUCK
        return standings

    def for_person(self, snapshot: Snapshot, max_attempts: int) -> TasksForPerson:
        """The tasks that wait for a person and nothing else."""
        standings = self.standings(snapshot, max_attempts)
        return TasksForPerson(
            gated=snapshot.graph.ready(standings, Standing.GATED),
            asking=snapshot.graph.ready(standings, Standing.ASKING),
        )


EVERY_TASK = TaskChoice()


class TasksForPerson(NamedTuple):
    """The ids of tasks that wait for a person: `gated` for an approval, `asking` for the
    answer to a question.
    """

    gated: tuple[str, ...] = ()
    asking: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.gated or self.asking)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a person is to do; () for nothing."""
        asking = (answer_needed(self.asking),) if self.asking else ()
        gated = (approval_needed(self.gated),) if self.gated else ()
        return (*asking, *gated)


def approval_needed(ids: Sequence[str]) -> str:
    """A sentence on the tasks that wait for a person's approval, at least one."""
    verb, them = ("waits", "it") if len(ids) == 1 else ("wait", "them")
    named = ids[:_NAMED]
    command = typed("approve", named)
    return f"{some_of(named, len(ids))} {verb} for approval; to let {them} start:  {command}"


def answer_needed(ids: Sequence[str]) -> str:
    """A sentence on the tasks whose agents have asked, at least one."""
    verb, it = ("asks", "answer") if len(ids) == 1 else ("ask", "answer one")
    command = typed("reply", ids[:1], last='"…"')
    return f"{some_of(ids[:_NAMED], len(ids))} {verb} a question; to {it}:  {command}"


class NamedTasks(NamedTuple):
    """The tasks on a command line: `ids` themselves, `until` with all they depend on."""

    ids: tuple[str, ...] = ()
    until: tuple[str, ...] = ()

    def choice(self, snapshot: Snapshot, max_attempts: int) -> TaskChoice:
        """The tasks that may start; every task if none is named.

        Raises UsageProblem for an id that is not in the plan, for one that will not run
        again, and for one of `ids` that depends on a task that is neither completed nor
        chosen.
        """
        if not self.ids and not self.until:
            return EVERY_TASK
        named = snapshot.tasks_named([*self.ids, *self.until])
        chosen = {task.id for task in named}
        for task_id in self.until:
            chosen |= snapshot.graph.ancestors(task_id)
        standings = snapshot.progress.standings(snapshot.plan, max_attempts)
        _refuse_stuck(
            [task.id for task in named if standings[task.id] is Standing.STUCK]
        )
        for task in named:
            if not standings[task.id].may_run:
                continue
            unmet = []
            for dependency in snapshot.graph.dependencies(task.id):
                completed = standings[dependency] is Standing.COMPLETED
                if not completed and dependency not in chosen:
                    unmet.append(dependency)
            if unmet:
                _refuse_unmet(task.id, unmet)
        return TaskChoice(frozenset(chosen))


NO_NAMES = NamedTasks()


def _refuse_unmet(task_id: str, unmet: Sequence[str]) -> NoReturn:
    verb = "is" if len(unmet) == 1 else "are"
    raise UsageProblem(
        f"{task_id} depends on {some_of(unmet[:_NAMED], len(unmet))}, which {verb} not "
        "completed",
        f"to run that too:  fanin run --until {shlex.quote(task_id)}",
    )


def _refuse_stuck(ids: Sequence[str]) -> None:
    if not ids:
        return
    verb = "was" if len(ids) == 1 else "were"
    raise UsageProblem(
        f"{some_of(ids[:_NAMED], len(ids))} failed for good or {verb} skipped",
        f"to grant another attempt:  {typed('retry', ids[:_NAMED])}",
    )
