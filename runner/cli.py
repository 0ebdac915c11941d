"""What can be typed. Commands parse, build the edges, call one step and return its exit code.

The one error boundary is `main`. Every command imports what it uses inside itself: `fanin --help` and a matrix leg
must not pay for networkx, GitPython and rich.
"""

from __future__ import annotations

import os
import posixpath
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from runner import __version__
from runner.errors import EXIT_DONE, EXIT_TASKS_FAILED, FaninError, InvalidInput, UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

    from runner.config import Settings
    from runner.errors import Problem
    from runner.gitrepo import Repository
    from runner.models import AgentSettings
    from runner.pictures import View
    from runner.snapshot import Snapshot

# A hook or another tool that starts fanin has these set for its own repository.
_INHERITED_GIT = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_QUARANTINE_PATH",
)


class _PathOption(click.Path):
    """A path as pathlib's, which is imported when there is one: `fanin --help` has none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from pathlib import Path

        return Path(os.fsdecode(super().convert(value, param, ctx)))


def _width() -> int:
    """How wide help is written, as click reckons it, but without importing every compression format (shutil does)."""
    columns = os.environ.get("COLUMNS", "")
    try:
        wide = int(columns) if columns.isdecimal() else 0
        wide = wide or os.get_terminal_size(1).columns
    except OSError:
        wide = 80
    return max(min(wide or 80, 80) - 2, 50)


def main() -> NoReturn:
    """The door: every error becomes one sentence and its exit code."""
    for name in _INHERITED_GIT:
        os.environ.pop(name, None)
    try:
        code = fanin.main(standalone_mode=False, terminal_width=_width())
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = 2
    except FaninError as error:
        click.echo(f"fanin: {error}", err=True)
        code = error.exit_code
    except KeyboardInterrupt:
        click.echo("fanin: interrupted; finished work is kept, go on with  fanin run", err=True)
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_DONE
    except OSError as error:
        click.echo(f"fanin: {error}; what had landed is safe, mend it and run again", err=True)
        code = 3
    except Exception:  # noqa: BLE001  the boundary: anything unknown becomes a bug report
        _report_bug()
        code = 3
    sys.exit(code or EXIT_DONE)


def _report_bug() -> None:
    import platform
    import traceback

    click.echo(
        f"fanin {__version__}: an unexpected error; please report it with these lines\n"
        f"Python {platform.python_version()}, {platform.platform()}\n{traceback.format_exc()}",
        err=True,
    )


def _settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The settings as flags; every name equals the setting's."""
    options = [
        click.option("--plan", metavar="PATH", help="The plan's file or folder, relative to the repository."),
        click.option("--source", metavar="NAME", help="The plan's format; detected otherwise."),
        click.option("--ignore-dangling", is_flag=True, default=None, help="Drop dependencies on unknown tasks."),
        click.option("--parallel/--sequential", default=None, help="Run the ready tasks side by side."),
        click.option("--max-concurrent", type=int, metavar="N", help="Agents at once, and the batch limit."),
        click.option("--commit-strategy", metavar="batch|individual", help="One commit per batch, or per task."),
        click.option("--max-attempts", type=int, metavar="N", help="Attempts per task."),
        click.option("--timeout", metavar="30m", help="Time limit per attempt."),
        click.option("--verify", metavar="COMMAND", help="Checks the merged tree before it lands."),
        click.option("--agent", metavar="PRESET", help="The agent, by name."),
        click.option("--agent-command", metavar="'CMD ARG…'", help="The agent, as a command line."),
        click.option("--max-cost-usd", type=float, metavar="USD", help="Start no batch beyond this."),
        click.option("--max-rounds", type=int, metavar="N", help="Batches per run."),
        click.option("--branch", metavar="NAME", help="Where work lands; made from HEAD if it does not exist."),
        click.option("--progress", metavar="PATH", help="Where progress is kept."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fanin")
@click.option("--repo", "-C", default=".", metavar="PATH", help="The repository (default: the current folder's).")
@click.pass_context
def fanin(ctx: click.Context, repo: str) -> None:
    """Fan coding agents out over a task graph; fan their work in to one commit."""
    ctx.obj = repo


@fanin.command()
@_settings_options
@click.pass_obj
def run(where: str, /, **flags: Any) -> int:
    """Run everything that is ready, batch by batch, until nothing is left."""
    from rich.console import Console

    from runner.console import RunView
    from runner.local import LocalRun

    repo, settings = _open(where, flags)
    console = Console(highlight=False)
    with RunView(console) as view:
        ended = LocalRun(repo, settings, os.environ, view)()
    code = _tell_end(console, _views(ended.snapshot, settings))
    if ended.used.attempts:
        console.print(f"used: {ended.used.told()}", markup=False)
    for line in (ended.waiting and _waits(ended.waiting), ended.unfinished and f"stopped: {ended.unfinished}"):
        if line:
            console.print(line, style="yellow", markup=False, soft_wrap=True)
            code = EXIT_TASKS_FAILED
    return code


@fanin.command()
@click.option("--json", "as_json", is_flag=True, help="For tools.")
@_settings_options
@click.pass_obj
def check(where: str, /, as_json: bool, **flags: Any) -> int:
    """Say what fanin understands of the plan, and every problem in it. Starts nothing."""
    from runner import agents, batch, pictures
    from runner.config import describe

    problems: tuple[Problem, ...] = ()
    aloud: list[str] = []
    try:
        repo, settings = _open(where, flags)
        snapshot = _working_snapshot(repo, settings)
    except InvalidInput as error:
        if not as_json:
            raise
        import json

        click.echo(json.dumps({"version": 1, "problems": pictures.listed(error.problems)}, indent=1))
        return error.exit_code
    try:
        batch.refuse_hopeless(snapshot.plan, snapshot.progress, settings, agents.agent_for)
        aloud = _surroundings(repo, snapshot, settings)
    except InvalidInput as error:  # told after what was understood, which helps to mend it
        problems = error.problems
    found = _views(snapshot, settings)
    tracked = repo.paths("HEAD") if repo.commit("HEAD") else []
    notes = [*_remarks(snapshot, settings, tracked), *aloud]
    if as_json:
        click.echo(pictures.understood(snapshot.plan, found, snapshot.graph, notes, problems))
    else:
        click.echo(" · ".join(describe(settings)))
        _tell_understood(snapshot, found, notes)
    if problems and not as_json:
        raise InvalidInput(problems)
    return UsageProblem.exit_code if problems else EXIT_DONE


def _surroundings(repo: Repository, snapshot: Snapshot, settings: Settings) -> list[str]:
    """What should be said of agents, keys and the cost limit; InvalidInput for what can never work."""
    from runner import agents, batch
    from runner.snapshot import read_file, read_template

    template = settings.prompt_template
    read_template(template, read_file(repo.root / template) if template else None)
    uncapped, notes = batch.uncapped(
        snapshot.plan, snapshot.progress, settings, lambda chosen: agents.agent_for(chosen).traits.costs
    )
    if uncapped:
        raise InvalidInput(uncapped)
    lacking = batch.lacking(snapshot.plan, snapshot.progress, settings, _lacks)
    return [*notes, *(f"warning: {problem}" for problem in lacking)]


def _tell_understood(snapshot: Snapshot, found: list[View], notes: list[str], most: int = 12) -> None:
    """One screen: tasks and edges, what is done, the batches that are left, what was ignored and why."""
    from runner import pictures

    graph, plan = snapshot.graph, snapshot.plan
    click.echo(f"{plan.path} ({plan.source}): {len(found)} tasks, {graph.edges} dependencies")
    click.echo(", ".join(f"{count} {state}" for state, count in pictures.counts(found).items()))
    left = pictures.batches(found, graph)
    if left:
        width = max(map(len, left))
        click.echo(f"the graph allows {len(left)} batches, at most {width} tasks side by side:")
        for number, wave in enumerate(left[:most], 1):
            click.echo(f"  {number}. {', '.join(_shortened(wave, 6))}")
        if len(left) > most:
            click.echo(f"  … {len(left) - most} more")
        click.echo(f"longest chain of the plan: {' → '.join(_shortened(graph.critical_path()))}")
    for line in notes[:most]:
        click.echo(f"note: {line}")
    if len(notes) > most:
        click.echo(f"… {len(notes) - most} more notes; all of them:  fanin check --json")


@fanin.command()
@click.argument("source_path", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--source", metavar="NAME", help="The format of FROM; detected otherwise.")
@click.option("--option", "-o", "pairs", multiple=True, metavar="NAME=VALUE", help="An option of that format.")
@click.option("--ignore-dangling", is_flag=True, help="Drop dependencies on unknown tasks.")
@click.option(
    "--progress", default=".fanin/progress.json", show_default=True, help="Where finished tasks are recorded."
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
    """Write any plan as native YAML. Paths are relative to the repository; TO `-` is the terminal.

    Native plans have no word for a state, so finished and skipped tasks go into the progress file.
    """
    from runner import snapshot
    from runner.graph import TaskGraph
    from runner.models import PlanSettings
    from runner.progress import from_source, render
    from runner.sources import load, native

    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise UsageProblem(f"{wrong[0]!r} is no option", "write  --option NAME=VALUE")
    root = _repository(where).root
    target = target if target == "-" else posixpath.normpath(target)
    options = dict(pair.split("=", 1) for pair in pairs)
    choice = PlanSettings(path=source_path, source=source, options=options, ignore_dangling=ignore_dangling)
    plan = load(choice, snapshot.work_tree(root, choice))
    TaskGraph(plan.tasks, plan.path)  # what cannot run is not worth converting
    known = from_source(plan, target)
    files = {target: native.render(plan)}
    if known.records:
        files[progress] = render(known, [task.id for task in plan.tasks])
    if target == "-":
        click.echo(files[target], nl=False)
        return EXIT_DONE
    if taken := [path for path in files if (root / path).exists()]:
        raise UsageProblem(f"{taken[0]} is there already", "give another name (the progress file's with --progress)")
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8", newline="")
        click.echo(f"wrote {path}")
    for line in plan.notes:
        click.echo(f"note: {line}")
    return EXIT_DONE


@fanin.command("agents")
@_settings_options
@click.pass_obj
def agents_(where: str, /, **flags: Any) -> int:
    """List the agents that can be chosen: installed or not, version, key, and what is missing to use them."""
    import shutil

    from runner import agents, process
    from runner.agents.surroundings import key_of
    from runner.models import AgentSettings

    _, settings = _open(where, flags)
    for name, agent in agents.presets().items():
        chosen = settings.agent if settings.agent and settings.agent.preset == name else AgentSettings(preset=name)
        path = shutil.which(agent.traits.program)
        version = process.first_line([path, "--version"], os.environ) if path else None
        key = key_of(agent, chosen, os.environ)
        lacking = _lacks(chosen)
        told = [f"{version or 'version unknown'}" if path else "not installed", f"key: {key or 'none'}"]
        click.echo(f"{'✔' if not lacking else '✘'} {name}: {', '.join(told)}")
        for what, remedy in lacking:
            click.echo(f"    {what}; {remedy}")
    return EXIT_DONE


@fanin.command()
@click.option("--format", "form", type=click.Choice(["mermaid", "dot", "json"]), default="mermaid")
@_settings_options
@click.pass_obj
def graph(where: str, /, form: str, **flags: Any) -> int:
    """Print the task graph, coloured by state."""
    from runner import pictures

    repo, settings = _open(where, flags)
    snapshot = _working_snapshot(repo, settings)
    found = _views(snapshot, settings)
    text = {"mermaid": pictures.mermaid, "dot": pictures.dot}.get(form)
    click.echo(text(found) if text else pictures.as_json(found, snapshot.graph), nl=False)
    return EXIT_DONE


@fanin.command()
@click.option("--json", "as_json", is_flag=True, help="For tools.")
@_settings_options
@click.pass_obj
def status(where: str, /, as_json: bool, **flags: Any) -> int:
    """Show how every task stands: on the branch, and in a run that is going on."""
    from runner import pictures
    from runner.journal import Journal
    from runner.landing import is_open

    repo, settings = _open(where, flags)
    journal = Journal(repo.git_dir)
    state = journal.state()
    waiting = state.waiting if state.waiting and is_open(repo, state.waiting) else None
    snapshot = _branch_snapshot(repo, settings, waiting.on if waiting else None)
    found = _views(snapshot, settings, journal.running())
    if as_json:
        click.echo(pictures.as_json(found, snapshot.graph))
    else:
        from rich.console import Console

        from runner.console import print_views

        print_views(Console(highlight=False), found)
        if waiting:
            click.echo(_waits(waiting.on))
    return EXIT_TASKS_FAILED if any(view.state in {"failed", "blocked"} for view in found) else EXIT_DONE


@fanin.command()
@click.argument("task_ids", nargs=-1, metavar="ID…")
@click.option("--failed", is_flag=True, help="Every task that failed for good.")
@_settings_options
@click.pass_obj
def retry(where: str, /, task_ids: tuple[str, ...], failed: bool, **flags: Any) -> int:
    """Grant tasks one more attempt. Attempts are never lowered."""
    from runner.progress import Progress

    def change(snapshot: Snapshot, settings: Settings) -> tuple[Progress, list[str]]:
        ids = list(task_ids) or [v.task.id for v in _views(snapshot, settings) if failed and v.state == "failed"]
        after = snapshot.progress
        for task in snapshot.named(ids):
            after = after.retried(task, settings.max_attempts)
        return after, ids

    if not task_ids and not failed:
        raise UsageProblem("no task is named", "give ids, or --failed")
    return _change_progress(where, flags, "Retry", change)


@fanin.command()
@click.argument("task_ids", nargs=-1, required=True, metavar="ID…")
@click.option("--satisfied", is_flag=True, help="Let the tasks that depend on them run all the same.")
@_settings_options
@click.pass_obj
def skip(where: str, /, task_ids: tuple[str, ...], satisfied: bool, **flags: Any) -> int:
    """Never run these tasks. `fanin retry` takes it back."""
    from runner.progress import Progress

    def change(snapshot: Snapshot, _: Settings) -> tuple[Progress, list[str]]:
        after = snapshot.progress
        for task in snapshot.named(task_ids):
            after = after.skipping(task, satisfied=satisfied)
        return after, list(task_ids)

    return _change_progress(where, flags, "Skip", change)


@fanin.command()
@click.option("--agent-command", default="python3 agent.py", show_default=True, metavar="'CMD ARG…'")
@click.pass_obj
def init(where: str, agent_command: str) -> int:
    """Write a first tasks.yml and fanin.yml; what is there already stays."""
    from runner import starter

    root = _repository(where).root
    for path, text in starter.files(agent_command).items():
        if (root / path).exists():
            click.echo(f"{path} is there already; it stays as it is")
        else:
            (root / path).write_text(text, encoding="utf-8")
            click.echo(f"wrote {path}")
    click.echo("next: edit them, commit them, then  fanin check  and  fanin run")
    return EXIT_DONE


@fanin.command()
@click.option("--keep-in", type=_PathOption(file_okay=False), help="Where to put the repository.")
def demo(keep_in: Path | None) -> int:
    """Watch six tasks become a few commits, in a new repository, with a scripted agent that needs no key."""
    import tempfile
    import time
    from pathlib import Path

    from rich.console import Console

    from runner import demo as scene
    from runner.console import RunView
    from runner.local import LocalRun

    root = scene.make_repository(keep_in or Path(tempfile.mkdtemp(prefix="fanin-")))
    repo, settings = _open(str(root), {})
    console = Console(highlight=False)
    started = time.monotonic()
    with RunView(console) as view:
        ended = LocalRun(repo, settings, os.environ, view)()
    seconds = time.monotonic() - started
    console.print("\n[bold]The graph[/]")
    _print_waves(console, ended.snapshot)
    console.print("\n[bold]The commits[/]")
    for short, subject in repo.log(None, ended.branch):
        console.print(f"  {short}  {subject}", markup=False)
    console.print(
        f"\nthe agents worked {view.busy_seconds:.1f} s in all; the run took {seconds:.1f} s, "
        f"{view.busy_seconds / seconds:.1f} times as fast as one after the other",
        soft_wrap=True,
    )
    console.print(
        f"the repository: {root}\nlook around:    cd {root} && fanin status && git log --stat", soft_wrap=True
    )
    return _tell_end(console, _views(ended.snapshot, settings))


# -- the steps as jobs of GitHub Actions --------------------------------------------------------------------------

_manifest = click.option(
    "--manifest",
    type=_PathOption(dir_okay=False),
    envvar="FANIN_MANIFEST",
    default="manifest.json",
    show_default=True,
    help="The batch manifest.",
)
_digest = click.option(
    "--manifest-digest", envvar="FANIN_MANIFEST_DIGEST", default="", help="What job next said of it."
)
_state = click.option("--state", envvar="FANIN_STATE", default="", help="What the round before handed on.")
_results = click.argument("results", type=_PathOption(file_okay=False), envvar="FANIN_RESULTS")
_verdict = click.option("--verdict", type=_PathOption(dir_okay=False), envvar="FANIN_VERDICT")


@fanin.command("next")
@_manifest
@_state
@click.option("--retry", envvar="FANIN_RETRY", default="", metavar="'ID ID…'", help="Tasks to grant one more attempt.")
@click.option("--dry-run", is_flag=True, envvar="FANIN_DRY_RUN", help="Only say what would run.")
@click.option("--runs-on", envvar="FANIN_RUNS_ON", default="ubuntu-latest", help="A label, or a JSON list of labels.")
@_settings_options
@click.pass_obj
def next_(where: str, /, manifest: Path, state: str, retry: str, dry_run: bool, runs_on: str, **flags: Any) -> int:
    """Job: choose the batch, write its manifest and the matrix."""
    from runner import actions, actions_io, config
    from runner.gitremote import Remote

    context, machine = actions_io.read_context(os.environ), actions_io.Machine(os.environ, sys.stdout)
    handed = actions.round_state(state, context)
    inputs = actions.carried(os.environ, handed)
    repo = _repository(where)
    environ = {**os.environ, **{f"FANIN_{name.upper()}": value for name, value in inputs.items()}}
    settings = config.load(flags, environ, config.file_in(repo.root))
    # Job `continue` has no checkout, so it cannot read the file that may say these.
    limits = {name: getattr(settings.limits, name) for name in ("max_rounds", "max_cost_usd")}
    inputs |= {name: str(value) for name, value in limits.items() if value is not None}
    options = actions.NextOptions(
        manifest,
        retry.replace(",", " ").split(),
        dry_run,
        runs_on,
        inputs,
        bool(os.environ.get("FANIN_MAY_CHANGE_WORKFLOWS")),
    )
    remote = Remote(repo, context.token, context.server_url)
    return actions.next_job(repo, settings, handed, context, machine, remote, options)


@fanin.command()
@click.argument("task_id", envvar="FANIN_TASK_ID", metavar="ID")
@click.option(
    "--results",
    type=_PathOption(file_okay=False),
    envvar="FANIN_RESULTS",
    default="results",
    show_default=True,
    help="Where the result folder is made.",
)
@_manifest
@_digest
@click.option("--show-prompt", is_flag=True, help="Only print the prompt that the task would get now.")
@_settings_options
@click.pass_obj
def task(
    where: str,
    /,
    task_id: str,
    results: Path,
    manifest: Path,
    manifest_digest: str,
    show_prompt: bool,
    **flags: Any,
) -> int:
    """Job: run one task of the batch and leave its result folder. With --show-prompt also outside of Actions."""
    import tempfile
    from pathlib import Path

    if show_prompt:
        return _show_prompt(where, task_id, flags)

    from runner import actions, actions_io, workspace

    context, machine = actions_io.read_context(os.environ), actions_io.Machine(os.environ, sys.stdout)
    frozen = actions.read_manifest(manifest, manifest_digest)
    entry = actions.entry_of(frozen, task_id)
    with tempfile.TemporaryDirectory(prefix="fanin-", ignore_cleanup_errors=True) as scratch:
        return actions.task_job(
            frozen, entry, workspace.origin_of(Path(where)), results, Path(scratch), os.environ, context, machine
        )


@fanin.command()
@_results
@_manifest
@_digest
@_state
@_verdict
@click.pass_obj
def verify(where: str, /, results: Path, manifest: Path, manifest_digest: str, state: str, verdict: Path | None) -> int:
    """Job: run the verify command on the merged tree, bisect a red one, leave the verdict."""
    import tempfile
    from pathlib import Path

    from runner import actions, actions_io
    from runner.gitremote import Remote

    context, machine = actions_io.read_context(os.environ), actions_io.Machine(os.environ, sys.stdout)
    frozen, handed = actions.read_manifest(manifest, manifest_digest), actions.round_state(state, context)
    repo = _repository(where)
    remote = Remote(repo, context.token, context.server_url)
    branch = handed.branch or frozen.branch
    with tempfile.TemporaryDirectory(prefix="fanin-", ignore_cleanup_errors=True) as scratch:
        return actions.verify_job(
            repo, frozen, results, verdict or Path("verdict.json"), remote, branch, Path(scratch), os.environ, machine
        )


@fanin.command()
@_results
@_manifest
@_digest
@_state
@_verdict
@click.option("--task-result", envvar="FANIN_TASK_RESULT", default="success", help="How the task jobs ended, in all.")
@click.option("--commit-via", envvar="FANIN_COMMIT_VIA", type=click.Choice(["git", "api"]), default="git")
@click.option("--last/--not-last", envvar="FANIN_LAST", default=True, help="Whether no second verification follows.")
@click.pass_obj
def merge(
    where: str,
    /,
    results: Path,
    manifest: Path,
    manifest_digest: str,
    state: str,
    verdict: Path | None,
    task_result: str,
    commit_via: str,
    last: bool,
) -> int:
    """Job: fan the batch's results in to one commit and push it."""
    from runner import actions, actions_io
    from runner.github_api import GitHub
    from runner.gitremote import Remote
    from runner.leaks import Secrets
    from runner.models import secret_names

    context, machine = actions_io.read_context(os.environ), actions_io.Machine(os.environ, sys.stdout)
    frozen, handed = actions.read_manifest(manifest, manifest_digest), actions.round_state(state, context)
    repo = _repository(where)
    # The same values that the legs had, to look for them once more: a leg's machine was the agent's.
    secrets = Secrets.of(actions.agent_environment(os.environ, machine), secret_names(frozen))
    job = actions.MergeJob(
        repo,
        frozen,
        results,
        handed,
        Remote(repo, context.token, context.server_url),
        GitHub(context.token, context.repository, context.api_url),
        context,
        machine,
        actions.MergeOptions(verdict, task_result, commit_via, last, secrets),
    )
    return job()


@fanin.command("continue")
@_state
@click.option("--again", is_flag=True, envvar="FANIN_AGAIN", help="Whether a task is ready now.")
@click.option("--landed", is_flag=True, envvar="FANIN_LANDED", help="Whether this round landed a commit.")
@click.option("--trigger-workflows", envvar="FANIN_TRIGGER_WORKFLOWS", default="", metavar="'FILE FILE…'")
@_settings_options
def continue_(state: str, again: bool, landed: bool, trigger_workflows: str, **flags: Any) -> int:
    """Job: start the caller's workflow for the next round."""
    from runner import actions, actions_io, config
    from runner.github_api import GitHub

    context, machine = actions_io.read_context(os.environ), actions_io.Machine(os.environ, sys.stdout)
    handed = actions.round_state(state, context)
    environ = {**os.environ, **{f"FANIN_{name.upper()}": value for name, value in handed.inputs.items()}}
    settings = config.load(flags, environ, None)
    branch = settings.branch or handed.branch or context.ref_name
    options = actions.ContinueOptions(again, branch, landed, trigger_workflows.replace(",", " ").split())
    github = GitHub(context.token, context.repository, context.api_url)
    return actions.continue_job(settings, handed, context, machine, github, options)


def _show_prompt(where: str, task_id: str, flags: dict[str, Any]) -> int:
    """Print the prompt of a task's next attempt, from the plan as it stands in the work tree."""
    from runner import batch
    from runner.agents import prompt
    from runner.snapshot import read_file, read_template

    repo, settings = _open(where, flags)
    snapshot = _working_snapshot(repo, settings)
    (chosen,) = snapshot.named([task_id])
    template = settings.prompt_template
    text = read_template(template, read_file(repo.root / template) if template else None)
    entry = batch.entry(0, chosen, snapshot.plan, snapshot.progress, settings)
    click.echo(prompt.render(entry, text), nl=False)
    return EXIT_DONE


# -- what the commands share ------------------------------------------------------------------------------------


def _repository(where: str) -> Repository:
    from pathlib import Path

    from runner.gitrepo import Repository

    return Repository(Path(where), os.environ)


def _open(where: str, flags: dict[str, Any]) -> tuple[Repository, Settings]:
    """The repository, and the settings in force there."""
    from runner import config

    repo = _repository(where)
    return repo, config.load(flags, os.environ, config.file_in(repo.root))


def _branch_snapshot(repo: Repository, settings: Settings, waiting: str | None = None) -> Snapshot:
    """What the branch that work lands on says; a branch where finished work waits says more."""
    from runner import snapshot

    branch = waiting or settings.branch or repo.current_branch()
    commit = repo.commit(f"refs/heads/{branch}" if branch else "HEAD")
    if commit is None:
        raise UsageProblem(
            "the repository has no commit yet" if branch == repo.current_branch() else f"there is no branch {branch}",
            "make a first one:  git add -A && git commit -m 'Start'",
        )
    return snapshot.read_snapshot(repo, commit, settings.plan, settings.progress)


def _working_snapshot(repo: Repository, settings: Settings) -> Snapshot:
    """The plan as it stands in the work tree, so that it can be checked before it is committed."""
    from runner import snapshot

    return snapshot.read_working_tree(repo.root, settings.plan, settings.progress)


def _views(snapshot: Snapshot, settings: Settings, running: list[str] | None = None) -> list[View]:
    from runner import pictures

    return pictures.views(snapshot.plan, snapshot.graph, snapshot.progress, settings.max_attempts, running or [])


def _change_progress(where: str, flags: dict[str, Any], verb: str, change: Callable[..., Any]) -> int:
    """Commit a change of the progress file (and the plan's marks) to the branch."""
    from runner import landing
    from runner.journal import Journal
    from runner.snapshot import read_snapshot, record_progress

    repo, settings = _open(where, flags)
    journal = Journal(repo.git_dir)
    with journal.locked():
        branch = landing.target_branch(repo, settings)
        landing.refuse_dirty(repo, branch)
        waiting = journal.state().waiting
        if waiting and waiting.target == branch and landing.is_open(repo, waiting):
            raise UsageProblem(_waits(waiting.on), "then try again")
        head = repo.commit(f"refs/heads/{branch}")
        assert head is not None
        snapshot = read_snapshot(repo, head, settings.plan, settings.progress)
        after, ids = change(snapshot, settings)
        if not ids:
            click.echo("nothing to do")
            return EXIT_DONE
        commit = record_progress(repo, snapshot, after, settings.progress, f"{verb} {', '.join(ids)}")
        landed = repo.land(branch, head, commit)
        if not landed.landed:
            raise UsageProblem(
                f"{branch} did not take the change: {landed.obstacle or 'it moved'}", "mend that, try again"
            )
    click.echo(f"{verb.lower()}: {', '.join(ids)}; go on with  fanin run")
    return EXIT_DONE


def _lacks(chosen: AgentSettings) -> list[tuple[str, str]]:
    """What is missing on this machine to use the agent."""
    import shutil

    from runner import agents
    from runner.agents.surroundings import lacks

    return lacks(agents.agent_for(chosen), chosen, os.environ, shutil.which)


def _waits(branch: str) -> str:
    return f"finished work waits on {branch}; take it:  git merge --ff-only {branch}"


def _remarks(snapshot: Snapshot, settings: Settings, tracked: Sequence[str]) -> list[str]:
    """What a user should know of the plan though it is no mistake; not of tasks that came finished."""
    from runner import batch
    from runner.models import Status

    lines = list(snapshot.plan.notes)
    tasks = tuple(t for t in snapshot.plan.tasks if t.source_status is not Status.COMPLETED)
    free = [task.id for task in tasks if task.files is None]
    if free:
        lines.append(
            f"{len(free)} tasks declare no files, so clashes among them are found by the merge only: "
            f"{', '.join(_shortened(free))}"
        )
    lines += [
        f"{one} and {other} overlap in files and never share a batch"
        for one, other in batch.clashing(snapshot.plan.model_copy(update={"tasks": tasks}), snapshot.graph.related)
    ]
    lines += batch.may_be_refused(snapshot.plan, snapshot.progress, settings, tracked)
    if settings.parallel is False and len(snapshot.plan.tasks) > 1:
        lines.append("parallel is false: one task at a time; set  parallel: true  or give --parallel")
    return lines


def _tell_end(console: Any, found: list[View]) -> int:
    """The closing lines of a run, and its exit code."""
    from runner.console import tally

    for view in found:
        if view.state in {"failed", "blocked", "held"}:
            console.print(f"{view.task.id} {view.state}: {view.reason}", style="red", markup=False)
    console.print(tally(found))
    bad = [view for view in found if view.state in {"failed", "blocked", "held"}]
    if any(view.state == "failed" for view in bad):
        console.print("another attempt for them:  fanin retry --failed && fanin run", markup=False)
    return EXIT_TASKS_FAILED if bad else EXIT_DONE


def _print_waves(console: Any, snapshot: Snapshot) -> None:
    for wave in snapshot.graph.waves():
        console.print(
            "  "
            + "   ".join(
                f"{task_id} ← {', '.join(snapshot.graph.dependencies(task_id))}"
                if snapshot.graph.dependencies(task_id)
                else task_id
                for task_id in wave
            ),
            markup=False,
        )


def _shortened(ids: Any, most: int = 8) -> list[str]:
    listed = list(ids)
    return listed if len(listed) <= most else [*listed[:most], f"… {len(listed) - most} more"]
