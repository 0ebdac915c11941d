"""What a run would do first, found without writing anything."""

from __future__ import annotations

from collections.abc import Mapping

from runner import pipeline
from runner.config.settings import Settings
from runner.core.manifest import Manifest
from runner.local.preparation import check_agents
from runner.plan.snapshot import Snapshot, committed_template
from runner.plan.trees import CommitTree
from runner.repo.repository import Repository
from runner.schedule.budget import Budget
from runner.schedule.task_choice import TaskChoice


def first_batch(
    repo: Repository,
    branch: str,
    snapshot: Snapshot,
    settings: Settings,
    choice: TaskChoice,
    environ: Mapping[str, str],
) -> Manifest | None:
    """The batch that a run would start with at `snapshot`; None if no task is ready.

    For the rolling schedule, the tasks that it would start before the first one ends.
    Raises what the run would raise before its first agent starts: InvalidInput for
    agents, programs and keys.
    """
    check_agents(repo, snapshot, settings, environ, choice)
    return pipeline.next_batch(
        snapshot,
        settings,
        pipeline.BatchRequest(
            run="preview",
            round_number=1,
            branch=branch,
            slots=settings.slots,
            budget=Budget(settings.limits.max_cost_usd),
            prompt_template=committed_template(
                repo, snapshot.commit, settings.prompt_template
            ),
            tree=CommitTree(repo, snapshot.commit),
            choice=choice,
        ),
    )
