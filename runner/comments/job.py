"""Job `comment`: does what a person asks for in a comment on a pull request of fanin.

The event says what was written; who may ask for it, and on what, is asked of GitHub now.
The job checks out nothing of the pull request and runs no code of the repository: it reads
plan, settings and progress from the commit that the branch is at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from runner.actions.publisher import TRIES, Publisher
from runner.actions.round_state import RoundState, with_inputs
from runner.comments import answers
from runner.comments.command import command_lines, find_command
from runner.comments.refusal import LABEL, refusal, workflow_branch
from runner.comments.request import STARTS_A_ROUND, needs_history, request_of
from runner.comments.review import review_message
from runner.config.settings import FILE, load
from runner.core.errors import EXIT_DONE, EnvironmentBroken, FaninError, UsageProblem
from runner.delivery.choice import is_own
from runner.github_api.comments import Comment, CommentedPull, read_comment
from runner.github_api.issue_types import WRITERS
from runner.local.request_context import RequestContext
from runner.local.request_outcome import Outcome, request_outcome
from runner.local.written_lines import WrittenLines
from runner.plan.requests import check_request
from runner.plan.snapshot import Snapshot, read_progress, read_snapshot
from runner.plan.trees import decode_text

if TYPE_CHECKING:
    from runner.actions.workflow_io import JobIO, WorkflowContext
    from runner.comments.command import Command
    from runner.config.settings import Settings
    from runner.github_api.comments import CommentApi
    from runner.plan.records import RunRecord
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository

_TRAILER = "Fanin-"


@dataclass(frozen=True)
class CommentOptions:
    """Options of job `comment`.

    `workflow`: the file of the workflow that runs the plan. `label`: what a pull request
    has on which fanin works. `commit_via`: git or api. `environ`: the job's environment.
    """

    workflow: str
    label: str = LABEL
    commit_via: str = "git"
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


def comment_job(
    repo: Repository,
    remote: Remote,
    api: CommentApi,
    context: WorkflowContext,
    job_io: JobIO,
    options: CommentOptions,
) -> int:
    """Do what the comment of the event asks for, and answer it; return the exit code.

    What a program wrote, and a comment without a command, gets no answer. Who may not
    write gets a reaction.
    """
    said = _comment_of(context)
    is_of_pull = (context.event.get("issue") or {}).get("pull_request") is not None
    if said.by_program or not said.author or not is_of_pull:
        return EXIT_DONE
    if not command_lines(said.body):
        return EXIT_DONE
    if api.actor_permission(said.author) not in WRITERS:
        api.react(said.id, "-1")
        job_io.annotate("notice", "its author may not write to the repository")
        return EXIT_DONE
    return CommentJob(repo, remote, api, context, job_io, options, said).run()


def _comment_of(context: WorkflowContext) -> Comment:
    """The comment of the event. Raises UsageProblem for another event."""
    event = context.event
    if (context.event_name, context.event_action) != ("issue_comment", "created"):
        raise UsageProblem(
            f"the event {context.event_name} has no new comment",
            "start this workflow on  issue_comment: {types: [created]}",
        )
    return read_comment(event.get("comment") or {})


@dataclass(frozen=True)
class CommentJob:
    """Obeys or refuses the command of one comment, `said` by a person who may write."""

    repo: Repository
    remote: Remote
    api: CommentApi
    context: WorkflowContext
    job_io: JobIO
    options: CommentOptions
    said: Comment

    def run(self) -> int:
        """Do it, and answer; return the exit code. What breaks is answered too."""
        number = int(self.context.event["issue"]["number"])
        try:
            pull = self.api.commented_pull(number)
            text = self._obey(pull)
        except UsageProblem as problem:
            self._answer(number, answers.refused(problem), is_done=False)
            return EXIT_DONE
        except FaninError as error:
            self._answer(
                number, answers.failed(error, self.context.run_url), is_done=False
            )
            raise
        self._answer(number, text, is_done=True)
        return EXIT_DONE

    def _answer(self, number: int, text: str, *, is_done: bool) -> None:
        self.job_io.annotate("notice", text, title="fanin")
        self.api.react(self.said.id, "+1" if is_done else "confused")
        self.api.answer(number, text)

    def _obey(self, pull: CommentedPull) -> str:
        """Do what is asked for; return the answer. Raises UsageProblem if it is not to be
        done.
        """
        now = self.api.comment(self.said.id)
        reason = refusal(
            self.said, now, pull, self.context.repository, self.options.label
        )
        if reason is not None:
            raise UsageProblem(reason)
        command = find_command(self.said.body)
        assert command is not None  # its caller has seen a line
        outcome, run = self._apply(pull, command)
        if outcome.refused and not outcome.tasks:
            raise UsageProblem("; ".join(outcome.refused))
        next_round = ""
        if command.name in STARTS_A_ROUND:
            next_round = self._next_round(pull, run)
        return answers.done(command, outcome, self.context.repository_url, next_round)

    def _apply(
        self, pull: CommentedPull, command: Command
    ) -> tuple[Outcome, RunRecord | None]:
        """Commit what the command changes to the pull request's branch, again whenever
        that moves; what was changed, and the run that the branch has recorded.
        """
        publisher = Publisher(
            self.repo,
            self.remote,
            self.api,
            self.job_io,
            run=self.context.run_id,
            branch=pull.head,
            commit_via=self.options.commit_via,
        )
        for _ in range(TRIES):
            head = self.remote.fetch(pull.head, history=needs_history(command))
            settings, run = self._settings_at(head)
            outcome = self._outcome(pull, command, settings, head)
            if outcome.commit is None:
                return outcome, run
            commit = self._with_trailers(outcome.commit, run)
            update = publisher.put([commit], head)
            if update.landed:
                self.remote.set_refs(dict.fromkeys(outcome.landed_refs))
                return replace(outcome, commit=update.commit or commit), run
            if update.refused:
                raise EnvironmentBroken(
                    f"{pull.head} refused the push: {update.text}",
                    "allow fanin's job to push there",
                )
        raise EnvironmentBroken(
            f"{pull.head} moved {TRIES} times meanwhile", "write the comment again"
        )

    def _settings_at(self, head: str) -> tuple[Settings, RunRecord | None]:
        """The settings in the commit, with those that its recorded run was started with;
        and that run.
        """
        file = decode_text(FILE, self.repo.file(head, FILE))
        environ = self.options.environ
        settings = load({}, environ, file)
        run = read_progress(self.repo, head, settings.plan, settings.progress).run
        if run is not None:
            settings = load({}, with_inputs(environ, run.inputs), file)
        return settings, run

    def _outcome(
        self, pull: CommentedPull, command: Command, settings: Settings, head: str
    ) -> Outcome:
        snapshot: Snapshot = read_snapshot(
            self.repo, head, settings.plan, settings.progress, settings.task_rules
        )
        message = command.text
        if "--from-review" in command.options:
            written = WrittenLines(
                self.repo,
                snapshot,
                settings.progress,
                settings.task_rules,
                command.ids[0],
            )
            message = review_message(self.api, pull.number, written, message)
        request = request_of(
            self.repo, self.remote, settings, snapshot, pull, command, message
        )
        check_request(request, snapshot)
        context = RequestContext(self.repo, settings, self.options.environ)
        request_id = f"comment-{self.said.id}"
        return request_outcome(context, snapshot, request_id, request, verified=False)

    def _with_trailers(self, commit: str, run: RunRecord | None) -> str:
        """The commit with what it was made for, and with the run, of which a push is
        fanin's own and starts nothing: this job starts the next round itself.
        """
        message = self.repo.message(commit).rstrip("\n")
        trailers = [f"Fanin-Comment: {self.said.id} ({self.said.author})"]
        if run is not None:
            trailers.append(f"Fanin-Run: {run.id}")
        has_trailers = message.rpartition("\n")[2].startswith(_TRAILER)
        lines = [message, *([] if has_trailers else [""]), *trailers]
        parent = self.repo.commit(f"{commit}^")
        assert parent is not None
        tree = self.repo.tree(commit)
        return self.repo.commit_tree(tree, [parent], "\n".join(lines) + "\n")

    def _next_round(self, pull: CommentedPull, run: RunRecord | None) -> str:
        """Start the workflow for the next round; a sentence on it. What fails is said in
        it, because the command is done by now.
        """
        has_own = is_own(pull.head)
        state = RoundState(
            run=self.context.run_id,
            branch=pull.head,
            # The pull request of a run's own branch needs no comment: fanin wrote it.
            pull_request=None if has_own else pull.number,
            pull_requests={pull.head: pull.base} if has_own else {},
            delivery=pull.head if has_own else None,
            inputs=run.inputs if run else {},
        )
        workflow = self.options.workflow
        inputs = {"fanin-state": state.model_dump_json()}
        try:
            url = self.api.dispatch(workflow, workflow_branch(pull), inputs)
        except FaninError as error:
            self.job_io.annotate("error", str(error), title="fanin")
            return answers.not_started(workflow, error)
        return f"The next round: {url}" if url else "The next round has been started."
