"""The commands `demo` and `convert`."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from runner.cli import completion
from runner.cli.context import open_project, open_repository, task_views
from runner.cli.options import PathOption
from runner.core.errors import EXIT_DONE, UsageProblem

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option(
    "--keep-in",
    type=PathOption(file_okay=False),
    help="The folder to create the repository in (default: a temporary one).",
)
def demo(keep_in: Path | None) -> int:
    """Watch six tasks become commits in a new repository.

    The agent is scripted and needs no key.
    """
    import tempfile
    import time
    from pathlib import Path

    from runner.cli.demo.repository import make_repository
    from runner.cli.report import print_end, print_waves
    from runner.local.run import LocalRun
    from runner.ui.console import RunConsole
    from runner.ui.terminal import TerminalView

    root = make_repository(keep_in or Path(tempfile.mkdtemp(prefix="fanin-")))
    repo, settings = open_project(str(root), {})
    console = RunConsole(environ=os.environ)
    started = time.monotonic()
    with TerminalView(console, environ=os.environ) as view:
        local_run = LocalRun(repo, settings, os.environ, view)
        ended = local_run()
    seconds = time.monotonic() - started
    speedup = view.run.busy_seconds / seconds
    console.print("\n[bold]The graph[/]")
    print_waves(console, ended.snapshot)
    console.print("\n[bold]The commits[/]")
    for commit, subject in repo.log(None, ended.branch):
        console.print(f"  {commit}  {subject}", markup=False)
    console.print(
        f"\nThe agents worked {view.run.busy_seconds:.1f} s in total and the run took "
        f"{seconds:.1f} s: {speedup:.1f} times as fast as one task at a time.",
        soft_wrap=True,
    )
    console.print(
        f"repository:   {root}\n"
        f"look around:  cd {root} && fanin status && git log --stat",
        soft_wrap=True,
    )
    views = task_views(ended.snapshot, settings)
    return print_end(console, views, view.run, local_run.masked)


@click.command()
@click.argument("plan_path", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--source",
    metavar="NAME",
    shell_complete=completion.plan_formats,
    help="The format of FROM (default: detected).",
)
@click.option(
    "--option",
    "-o",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of that format; may be repeated.",
)
@click.option(
    "--ignore-dangling", is_flag=True, help="Drop dependencies on unknown tasks."
)
@click.option(
    "--strict",
    is_flag=True,
    help="Refuse a plan with records that cannot be read instead of leaving them out.",
)
@click.option(
    "--skip-line",
    "skip_lines",
    multiple=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="The number of an unreadable line of the plan to ignore.",
)
@click.option(
    "--progress",
    "progress_path",
    default=".fanin/progress.json",
    show_default=True,
    help="The file to record finished tasks in.",
)
@click.pass_obj
def convert(
    repo_path: str,
    plan_path: str,
    target: str,
    source: str | None,
    options: tuple[str, ...],
    ignore_dangling: bool,
    strict: bool,
    skip_lines: tuple[int, ...],
    progress_path: str,
) -> int:
    """Write any plan as native YAML.

    Paths are relative to the repository; TO may be - for standard output. A native plan
    cannot express a state, so finished and skipped tasks are recorded in the progress
    file.
    """
    from runner.core.documents import clean
    from runner.core.task import PlanSettings
    from runner.plan import trees
    from runner.plan.formats import native
    from runner.plan.graph import TaskGraph
    from runner.plan.loading import load
    from runner.plan.progress import from_source
    from runner.plan.progress_file import render

    choice = PlanSettings(
        path=plan_path,
        source=source,
        options=_parse_options(options),
        ignore_dangling=ignore_dangling,
        strict=strict,
        skip_lines=skip_lines,
    )
    root = open_repository(repo_path).root
    plan = load(choice, trees.work_tree(root, choice))
    # Refuses a plan that could not run: it is not worth converting.
    TaskGraph(plan.tasks, plan.path)
    text = native.render(plan)
    if target == "-":
        click.echo(text, nl=False)
        # Native YAML alone cannot say what is skipped.
        for note in plan.notes:
            click.echo(f"note: {clean(note)}", err=True)
        return EXIT_DONE
    target = posixpath.normpath(target)
    files = {target: text}
    progress = from_source(plan, target)
    if progress.records:
        files[progress_path] = render(progress, [task.id for task in plan.tasks])
    _write_new_files(root, files)
    for note in plan.notes:
        click.echo(f"note: {clean(note)}")
    return EXIT_DONE


def _parse_options(options: Sequence[str]) -> dict[str, str]:
    values = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise UsageProblem(
                f"--option {option!r} is not NAME=VALUE", "write  --option NAME=VALUE"
            )
        values[name] = value
    return values


def _write_new_files(root: Path, files: Mapping[str, str]) -> None:
    """Write all files. UsageProblem, before any is written, if one of them exists."""
    for path in files:
        if (root / path).exists():
            raise UsageProblem(
                f"{path} already exists",
                "choose another name (--progress for the progress file)",
            )
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        # newline="": the text has the line ends of the plan.
        (root / path).write_text(text, encoding="utf-8", newline="")
        click.echo(f"wrote {path}")


COMMANDS = (demo, convert)
