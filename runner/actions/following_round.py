"""The round that follows in the same run, chosen by job `merge` after it has landed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.actions.batch_choice import Choice, choose_batch
from runner.actions.round_state import RoundState, limit_reached, with_inputs
from runner.actions.workflow_io import Annotation
from runner.ui import job_summary

if TYPE_CHECKING:
    from runner.actions.merge_inputs import MergeInputs
    from runner.actions.merge_report import MergeReport


class FollowingRound:
    """Chooses the next batch, which lands on `branch` too."""

    def __init__(self, job: MergeInputs, branch: str) -> None:
        self._job, self._branch = job, branch

    def may_choose(self, next_state: RoundState) -> bool:
        """Whether the next round may be one of this run.

        Otherwise job `continue` starts it: it says which limit is reached, and waits
        after a rate limit.
        """
        return (
            self._job.options.chooses
            and not self._job.options.cancelled
            and not next_state.limited
            and limit_reached(next_state, self._job.manifest.limits) is None
        )

    def choose(self, report: MergeReport) -> None:
        """Choose the next batch and set the outputs that start its round.

        Reads plan and settings of the branch's head; runs no code of the repository and
        loads no plan format of another package.
        """
        from runner.config.settings import FILE, load
        from runner.plan import formats
        from runner.plan.snapshot import read_snapshot
        from runner.plan.trees import decode_text

        state = report.next_state.next_round(self._branch)
        head = self._job.remote.fetch(self._branch)
        settings = load(
            {},
            with_inputs(self._job.options.environ, state.inputs),
            decode_text(FILE, self._job.repo.file(head, FILE)),
        )
        plan = settings.plan
        if plan.source is None:
            plan = plan.model_copy(update={"source": self._job.manifest.plan.source})
        is_builtin = plan.source in formats.BUILT_IN_NAMES
        if plan != self._job.manifest.plan or not is_builtin:
            # The format may be a plug-in's, which job `next` may load.
            self._job.set_outputs({"again": "true"})
            return
        snapshot = read_snapshot(
            self._job.repo, head, plan, settings.progress, settings.task_rules
        )
        choice = choose_batch(
            self._job.repo,
            snapshot,
            settings.model_copy(update={"plan": plan}),
            state,
            self._branch,
            self._job.options.choice,
        )
        self._report_choice(choice)

    def _report_choice(self, choice: Choice) -> None:
        notes = [Annotation("notice", note, title="fanin") for note in choice.notes]
        self._job.job_io.annotate_all(notes)
        if choice.manifest is None:
            stop_reason = choice.state.budget(
                self._job.manifest.limits.max_cost_usd
            ).stop_reason()
            if stop_reason is not None:
                self._job.job_io.annotate("notice", stop_reason, title="fanin")
            return
        round_json = choice.round_json()
        masked = self._job.options.masked.find(round_json)
        if masked is not None:
            self._job.job_io.annotate(
                "warning",
                f"the next round's tasks contain the value of {masked}, and GitHub "
                "drops such an output: the next round starts in a run of its own",
                title="fanin",
            )
            self._job.set_outputs({"again": "true"})
            return
        self._job.set_outputs({"round": round_json})
        ids = ", ".join(entry.task.id for entry in choice.manifest.entries)
        self._job.job_io.summary(
            job_summary.next_round_summary(choice.state.round, ids)
        )
