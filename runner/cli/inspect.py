"""The commands that only look: at the plan, its graph, the agents, and how every task
stands.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import (
    branch_snapshot,
    missing_requirements,
    opened,
    repository,
    shortened,
    views_of,
    waits,
    working_snapshot,
)
from runner.cli.options import settings_options
from runner.core.errors import EXIT_DONE, EXIT_TASKS_FAILED, InvalidInput, UsageProblem

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.core.errors import Problem
    from runner.plan.snapshot import Snapshot
    from runner.plan.view import TaskView
    from runner.repo.repository import Repository


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For tools.")
@settings_options("check")
@click.pass_obj
def check(where: str, /, as_json: bool, **flags: Any) -> int:
    """Say what fanin understands of the plan, and every problem in it. Starts nothing."""
    from runner.config.settings import describe
    from runner.schedule.preflight import preflight
    from runner.ui import plan_json

    try:
        repo, settings = opened(where, flags)
        snapshot = working_snapshot(repo, settings)
    except InvalidInput as error:
        if not as_json:
            raise
        import json

        click.echo(
            json.dumps(
                {"version": 1, "problems": plan_json.problem_rows(error.problems)},
                indent=1,
            )
        )
        return error.exit_code
    report = preflight(snapshot.plan, snapshot.progress, settings, environ=os.environ)
    problems = [*report.problems, *_template_problems(repo, settings)]
    warnings = [f"warning: {problem}" for problem in report.missing]
    found = views_of(snapshot, settings)
    tracked = repo.paths("HEAD") if repo.commit("HEAD") else []
    notes = [*_remarks(snapshot, settings, tracked), *report.notes, *warnings]
    if as_json:
        click.echo(
            plan_json.check_report(
                snapshot.plan, found, snapshot.graph, notes, problems
            )
        )
    else:
        click.echo(" · ".join(describe(settings)))
        _tell_understood(snapshot, found, notes)
    # after the description of the plan, which helps to fix them
    if problems and not as_json:
        raise InvalidInput(problems)
    return UsageProblem.exit_code if problems else EXIT_DONE


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


def _tell_understood(
    snapshot: Snapshot, found: list[TaskView], notes: list[str], most: int = 12
) -> None:
    """One screen: tasks and edges, what is done, the batches that are left, what was
    ignored and why.
    """
    from runner.core.plurals import pluralize
    from runner.plan.view import batches, counts

    graph, plan = snapshot.graph, snapshot.plan
    tasks = pluralize(len(found), "task")
    dependencies = pluralize(graph.edges, "dependency", "dependencies")
    click.echo(f"{plan.path} ({plan.source}): {tasks}, {dependencies}")
    click.echo(", ".join(f"{count} {state}" for state, count in counts(found).items()))
    left = batches(found, graph)
    if left:
        allowed = pluralize(len(left), "batch", "batches")
        width = pluralize(max(map(len, left)), "task")
        click.echo(f"the graph allows {allowed}, at most {width} side by side:")
        for number, wave in enumerate(left[:most], 1):
            click.echo(f"  {number}. {', '.join(shortened(wave, 6))}")
        if len(left) > most:
            click.echo(f"  … {len(left) - most} more")
        click.echo(
            f"longest chain of the plan: {' → '.join(shortened(graph.critical_path()))}"
        )
    for line in notes[:most]:
        click.echo(f"note: {line}")
    if len(notes) > most:
        click.echo(
            f"… {len(notes) - most} more notes; all of them:  fanin check --json"
        )


def _remarks(
    snapshot: Snapshot, settings: Settings, tracked: Sequence[str]
) -> list[str]:
    """What a user should know of the plan though it is no mistake; not of tasks that
    came finished.
    """
    from runner.core.task import Status
    from runner.schedule import selection
    from runner.schedule.preflight import protected_path_notes

    lines = list(snapshot.plan.notes)
    tasks = tuple(
        t for t in snapshot.plan.tasks if t.source_status is not Status.COMPLETED
    )
    free = [task.id for task in tasks if task.files is None]
    if free:
        lines.append(
            f"{len(free)} tasks declare no files, so clashes among them are found by the merge only: "
            f"{', '.join(shortened(free))}"
        )
    lines += [
        f"{one} and {other} overlap in files and never share a batch"
        for one, other in selection.overlapping_pairs(
            snapshot.plan.model_copy(update={"tasks": tasks}), snapshot.graph.related
        )
    ]
    lines += protected_path_notes(snapshot.plan, snapshot.progress, settings, tracked)
    if settings.parallel is False and len(snapshot.plan.tasks) > 1:
        lines.append(
            "parallel is false: one task at a time; set  parallel: true  or give --parallel"
        )
    return lines


@click.command()
@click.argument("source_path", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--source", metavar="NAME", help="The format of FROM; detected otherwise."
)
@click.option(
    "--option",
    "-o",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of that format.",
)
@click.option(
    "--ignore-dangling", is_flag=True, help="Drop dependencies on unknown tasks."
)
@click.option(
    "--progress",
    default=".fanin/progress.json",
    show_default=True,
    help="Where finished tasks are recorded.",
)
@click.pass_obj
def convert(
    where: str,
    source_path: str,
    target: str,
    source: str | None,
    pairs: tuple[str, ...],
    ignore_dangling: bool,
    progress: str,
) -> int:
    """Write any plan as native YAML. Paths are relative to the repository; TO `-` is
    the terminal.

    Native plans have no word for a state, so finished and skipped tasks go into the
    progress file.
    """
    from runner.core.task import PlanSettings
    from runner.plan import trees
    from runner.plan.formats import load, native
    from runner.plan.graph import TaskGraph
    from runner.plan.progress import from_source, render

    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise UsageProblem(f"{wrong[0]!r} is no option", "write  --option NAME=VALUE")
    root = repository(where).root
    target = target if target == "-" else posixpath.normpath(target)
    options = dict(pair.split("=", 1) for pair in pairs)
    choice = PlanSettings(
        path=source_path,
        source=source,
        options=options,
        ignore_dangling=ignore_dangling,
    )
    plan = load(choice, trees.work_tree(root, choice))
    TaskGraph(plan.tasks, plan.path)  # what cannot run is not worth converting
    known = from_source(plan, target)
    files = {target: native.render(plan)}
    if known.records:
        files[progress] = render(known, [task.id for task in plan.tasks])
    if target == "-":
        click.echo(files[target], nl=False)
        return EXIT_DONE
    if taken := [path for path in files if (root / path).exists()]:
        raise UsageProblem(
            f"{taken[0]} is there already",
            "give another name (the progress file's with --progress)",
        )
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8", newline="")
        click.echo(f"wrote {path}")
    for line in plan.notes:
        click.echo(f"note: {line}")
    return EXIT_DONE


@click.command("agents")
@settings_options("agents")
@click.pass_obj
def agents_(where: str, /, **flags: Any) -> int:
    """List the agents that can be chosen: installed or not, version, key, and what is
    missing to use them.
    """
    import shutil

    from runner import agents
    from runner.agents import process
    from runner.agents.environment import find_key
    from runner.core.task import AgentSettings

    _, settings = opened(where, flags)
    for name, agent in agents.presets().items():
        chosen = (
            settings.agent
            if settings.agent and settings.agent.preset == name
            else AgentSettings(preset=name)
        )
        path = shutil.which(agent.traits.program)
        version = process.first_line([path, "--version"], os.environ) if path else None
        key = find_key(agent, chosen, os.environ)
        lacking = missing_requirements(chosen)
        told = [
            f"{version or 'version unknown'}" if path else "not installed",
            f"key: {key or 'none'}",
        ]
        click.echo(f"{'✔' if not lacking else '✘'} {name}: {', '.join(told)}")
        for what, remedy in lacking:
            click.echo(f"    {what}; {remedy}")
    return EXIT_DONE


@click.command()
@click.option(
    "--format", "form", type=click.Choice(["mermaid", "dot", "json"]), default="mermaid"
)
@settings_options("graph")
@click.pass_obj
def graph(where: str, /, form: str, **flags: Any) -> int:
    """Print the task graph, coloured by state."""
    from runner.ui import diagrams, plan_json

    repo, settings = opened(where, flags)
    snapshot = working_snapshot(repo, settings)
    found = views_of(snapshot, settings)
    text = {"mermaid": diagrams.mermaid, "dot": diagrams.dot}.get(form)
    click.echo(
        text(found) if text else plan_json.graph_report(found, snapshot.graph), nl=False
    )
    return EXIT_DONE


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For tools.")
@settings_options("status")
@click.pass_obj
def status(where: str, /, as_json: bool, **flags: Any) -> int:
    """Show how every task stands: on the branch, and in a run that is going on."""
    from runner.local.journal import Journal
    from runner.local.landing import has_unlanded_work
    from runner.ui import plan_json

    repo, settings = opened(where, flags)
    journal = Journal(repo.git_dir)
    state = journal.state()
    waiting = (
        state.waiting
        if state.waiting and has_unlanded_work(repo, state.waiting)
        else None
    )
    snapshot = branch_snapshot(repo, settings, waiting.branch if waiting else None)
    found = views_of(snapshot, settings, journal.running())
    if as_json:
        click.echo(plan_json.graph_report(found, snapshot.graph))
    else:
        from rich.console import Console

        from runner.ui.terminal import print_views

        print_views(Console(highlight=False), found)
        if waiting:
            click.echo(waits(waiting.branch))
    return (
        EXIT_TASKS_FAILED
        if any(view.state in {"failed", "blocked"} for view in found)
        else EXIT_DONE
    )


COMMANDS = (check, convert, agents_, graph, status)
