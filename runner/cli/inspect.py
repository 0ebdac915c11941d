"""The commands that change nothing: `status`, `check`, `graph` and `agents`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from runner.cli.context import (
    abbreviate,
    missing_requirements,
    open_project,
    task_views,
    work_tree_snapshot,
)
from runner.cli.options import settings_options
from runner.core.errors import EXIT_DONE, InvalidInput, UsageProblem

if TYPE_CHECKING:
    from runner.agents import Agent
    from runner.config.settings import FlagValue, Settings
    from runner.core.errors import Problem
    from runner.core.task import AgentSettings
    from runner.plan.snapshot import Snapshot
    from runner.plan.view import TaskView
    from runner.repo.repository import Repository

# Lines of one kind that fit on a screen together with the rest.
_MAX_LINES = 12


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for tools.")
@settings_options("check")
@click.pass_obj
def check(repo_path: str, /, as_json: bool, **flags: FlagValue | None) -> int:
    """Check the plan and the settings; start nothing.

    Prints how fanin reads them, and every problem with its file and line.
    """
    from runner.config.settings import describe
    from runner.config.without_effect import without_effect
    from runner.plan.trees import NO_PLAN
    from runner.schedule.preflight import preflight
    from runner.schedule.simulation import scheduled_batches

    try:
        repo, settings = open_project(repo_path, flags)
        snapshot = work_tree_snapshot(repo, settings)
    except InvalidInput as error:
        if not as_json:
            if any(problem.what == NO_PLAN for problem in error.problems):
                _print_other_plans(repo, settings, _tracked(repo))
            raise
        from runner.ui import plan_json

        click.echo(plan_json.unreadable_plan(error.problems))
        return error.exit_code
    tracked = _tracked(repo)
    preflight_report = preflight(
        snapshot.plan,
        snapshot.progress,
        settings,
        environ=os.environ,
        has_file=lambda path: (repo.root / path).is_file(),
    )
    problems = [
        *preflight_report.problems,
        *_template_problems(repo, settings),
        *_include_problems(repo),
    ]
    notes = [
        *_plan_notes(repo, snapshot, settings, tracked),
        *preflight_report.notes,
        *_setup_notes(repo, settings),
        *_include_notes(repo, settings),
        *(f"warning: {problem}" for problem in preflight_report.missing),
        *(f"warning: {problem}" for problem in without_effect(settings)),
    ]
    views = task_views(snapshot, settings)
    if as_json:
        from runner.ui import plan_json

        report = plan_json.check_report(
            snapshot.plan,
            views,
            snapshot.graph,
            notes,
            problems,
            scheduled_batches(snapshot, settings.slots, settings.max_attempts),
        )
        click.echo(report)
        return UsageProblem.exit_code if problems else EXIT_DONE
    first_line = list(describe(settings))
    if snapshot.plan.left_out:
        first_line.insert(0, snapshot.plan.left_out_summary)
    click.echo(" · ".join(first_line))
    _print_plan(snapshot, views, settings)
    _print_other_plans(repo, settings, tracked)
    _print_notes(notes)
    # After the description of the plan, which helps to fix the problems.
    if problems:
        raise InvalidInput(problems)
    return EXIT_DONE


def _template_problems(repo: Repository, settings: Settings) -> Sequence[Problem]:
    from runner.plan.snapshot import read_template
    from runner.plan.trees import read_file

    path = settings.prompt_template
    text = read_file(repo.root / path) if path else None
    try:
        read_template(path, text)
    except InvalidInput as error:
        return error.problems
    return []


def _setup_notes(repo: Repository, settings: Settings) -> Sequence[str]:
    from runner.local.setup_record import SetupRecord

    sentence = SetupRecord(repo.git_dir / "fanin", settings.setup).sentence()
    return [sentence] if sentence else []


def _include_problems(repo: Repository) -> Sequence[Problem]:
    from runner.plan.snapshot import work_tree_include

    try:
        work_tree_include(repo.root)
    except InvalidInput as error:
        return error.problems
    return []


def _include_notes(repo: Repository, settings: Settings) -> Sequence[str]:
    from runner.local.preparation import include_notes

    with suppress(InvalidInput):  # a problem by itself
        return include_notes(repo, settings)
    return []


def _tracked(repo: Repository) -> list[str]:
    """The paths of the commit that is checked out."""
    return repo.paths("HEAD") if repo.commit("HEAD") else []


def _plan_notes(
    repo: Repository, snapshot: Snapshot, settings: Settings, tracked: Sequence[str]
) -> list[str]:
    """Notes on the plan that are not problems.

    Tasks that were finished in the plan itself are left out. `tracked` are the paths of
    the repository.
    """
    from runner.core.plurals import pluralize
    from runner.core.task import Status
    from runner.local.preparation import uncommitted_plan_note
    from runner.schedule import selection
    from runner.schedule.preflight import message_notes, protected_path_notes
    from runner.schedule.task_choice import EVERY_TASK

    plan = snapshot.plan
    uncommitted = uncommitted_plan_note(repo, plan, settings.branch)
    # first, as a plan may have more notes than are shown
    notes = [*([uncommitted] if uncommitted else ()), *plan.notes]
    notes += EVERY_TASK.for_person(snapshot, settings.max_attempts).sentences
    unfinished = tuple(
        task for task in plan.tasks if task.source_status is not Status.COMPLETED
    )
    without_files = [task.id for task in unfinished if task.files is None]
    if without_files:
        verb = "declares" if len(without_files) == 1 else "declare"
        notes.append(
            f"{pluralize(len(without_files), 'task')} {verb} no files, so conflicts "
            f"are detected only by the merge: {', '.join(abbreviate(without_files))}"
        )
    unfinished_plan = plan._replace(tasks=unfinished)
    for first, second in selection.overlapping_pairs(
        unfinished_plan, snapshot.graph.related
    ):
        notes.append(f"{first} and {second} overlap in files and never share a batch")
    notes += protected_path_notes(plan, snapshot.progress, settings, tracked)
    notes += message_notes(plan, snapshot.progress, settings)
    if not settings.parallel and len(plan.tasks) > 1:
        notes.append(
            "parallel is false, so one task runs at a time; "
            "set  parallel: true  or give --parallel"
        )
    return notes


def _print_plan(
    snapshot: Snapshot, views: Sequence[TaskView], settings: Settings
) -> None:
    """Print tasks and edges, their states, and the batches that are left."""
    from runner.core.plurals import pluralize
    from runner.plan.view import counts

    graph, plan = snapshot.graph, snapshot.plan
    tasks = pluralize(len(views), "task")
    dependencies = pluralize(graph.edges, "dependency", "dependencies")
    click.echo(f"{plan.path} ({plan.source}): {tasks}, {dependencies}")
    click.echo(", ".join(f"{count} {state}" for state, count in counts(views).items()))
    for part in plan.parts:
        own_ids = set(part.ids.values())
        own_views = [view for view in views if view.task.id in own_ids]
        own_counts = counts(own_views)
        states = ", ".join(f"{count} {state}" for state, count in own_counts.items())
        click.echo(f"  {part.name}: {part.path} ({part.source}): {states}")
    if not _print_batches(snapshot, views, settings):
        return
    chain = " → ".join(abbreviate(graph.critical_path()))
    click.echo(f"longest chain of the plan: {chain}")


def _print_batches(
    snapshot: Snapshot, views: Sequence[TaskView], settings: Settings
) -> bool:
    """Print the batches that the run makes, and how many the graph allows; whether there
    are any.
    """
    from runner.core.plurals import pluralize
    from runner.plan.view import batches
    from runner.schedule.simulation import scheduled_batches

    allowed = batches(views, snapshot.graph)
    if not allowed:
        return False
    count = pluralize(len(allowed), "batch", "batches")
    width = pluralize(max(map(len, allowed)), "task")
    click.echo(f"the graph allows {count}, at most {width} side by side")
    shown = allowed
    if settings.schedule == "rolling":
        click.echo(f"rolling runs at most {settings.slots} at a time:")
    else:
        shown = scheduled_batches(snapshot, settings.slots, settings.max_attempts)
        if not shown:
            click.echo("a run makes none: every task waits for approval")
            return True
        made = pluralize(len(shown), "batch", "batches")
        most_tasks = pluralize(settings.slots, "task")
        click.echo(f"a run makes {made} of at most {most_tasks}:")
    for number, batch in enumerate(shown[:_MAX_LINES], 1):
        click.echo(f"  {number}. {', '.join(abbreviate(batch, 6))}")
    if len(shown) > _MAX_LINES:
        click.echo(f"  … {len(shown) - _MAX_LINES} more")
    most = settings.limits.max_rounds
    if settings.schedule == "batch" and len(shown) > most:
        click.echo(f"limits.max_rounds ends a run after {most} of them")
    return True


def _print_other_plans(
    repo: Repository, settings: Settings, tracked: Sequence[str]
) -> None:
    """Print the plans of the repository if there are others than the one that is taken."""
    from runner.core.documents import clean
    from runner.core.plan_paths import covers
    from runner.core.task import PlanSettings
    from runner.plan.finder import find_plans, plan_paths
    from runner.plan.trees import WorkTree

    # What is taken has been read already.
    if all(covers(settings.plan.path, path) for path in plan_paths(tracked)):
        return
    found = find_plans(tracked, WorkTree(repo.root, repo))
    taken = [plan for plan in found if covers(settings.plan.path, plan.path)]
    if len(found) == len(taken):
        return
    reason = "--plan or the setting plan names it"
    if settings.plan.path == PlanSettings().path:
        reason = "the default"
    click.echo(f"plans of this repository; {settings.plan.path} is taken: {reason}")
    for plan in found[:_MAX_LINES]:
        mark = "→" if plan in taken else " "
        click.echo(clean(f"{mark} {plan.path}: {plan.describe()}"))
    if len(found) > _MAX_LINES:
        click.echo(f"  … {len(found) - _MAX_LINES} more")
    if not taken:
        click.echo(f"to take the first:  --plan {shlex.quote(found[0].path)}")


def _print_notes(notes: Sequence[str]) -> None:
    from runner.core.documents import clean
    from runner.core.plurals import pluralize

    for note in notes[:_MAX_LINES]:
        click.echo(f"note: {clean(note)}")
    if len(notes) > _MAX_LINES:
        more = pluralize(len(notes) - _MAX_LINES, "more note")
        click.echo(f"… {more}; all of them:  fanin check --json")


@click.command("agents")
@settings_options("agents")
@click.pass_obj
def agents_(repo_path: str, /, **flags: FlagValue | None) -> int:
    """List the agents and what is missing to use them.

    Prints for each whether it is installed, its version and where its key comes from.
    """
    from runner import agents
    from runner.core.task import AgentSettings

    _, settings = open_project(repo_path, flags)
    for name, agent in agents.presets().items():
        chosen = AgentSettings(preset=name)
        for configured in settings.agent.each if settings.agent else ():
            if configured.preset == name:
                chosen = configured
        _print_agent(name, agent, chosen)
    return EXIT_DONE


def _print_agent(name: str, agent: Agent, chosen: AgentSettings) -> None:
    import shutil

    from runner.agents.environment import find_key
    from runner.agents.process import first_line

    version = "not installed"
    path = shutil.which(agent.traits.program)
    if path:
        version = first_line([path, "--version"], os.environ) or "version unknown"
    key = find_key(agent, chosen, os.environ) or "none"
    missing = missing_requirements(chosen)
    mark = "✘" if missing else "✔"
    click.echo(f"{mark} {name}: {version}, key: {key}")
    for problem, remedy in missing:
        click.echo(f"    {problem}; {remedy}")


@click.command()
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["mermaid", "dot", "json"]),
    default="mermaid",
    show_default=True,
    help="The output format.",
)
@settings_options("graph")
@click.pass_obj
def graph(repo_path: str, /, output_format: str, **flags: FlagValue | None) -> int:
    """Print the task graph, coloured by state."""
    from runner.ui import diagrams

    repo, settings = open_project(repo_path, flags)
    snapshot = work_tree_snapshot(repo, settings)
    views = task_views(snapshot, settings)
    if output_format == "mermaid":
        text = diagrams.mermaid(views)
    elif output_format == "dot":
        text = diagrams.dot(views)
    else:
        from runner.ui import plan_json

        text = plan_json.graph_report(views, snapshot.graph)
    click.echo(text, nl=False)
    return EXIT_DONE


COMMANDS = (check, graph, agents_)
