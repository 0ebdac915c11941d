"""What can be typed. Commands parse, build the edges, call one step and return its exit code.

The one error boundary is `main`. Every command imports what it uses inside itself: `fanin --help` and a matrix leg
must not pay for networkx, GitPython and rich.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import click

from runner import __version__
from runner.errors import EXIT_DONE, EXIT_TASKS_FAILED, FaninError, UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

    from runner.config import Settings
    from runner.gitrepo import Repository
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
        click.option("--plan", metavar="PATH", help="The task source, relative to the repository."),
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

    repo, settings = _open(where, flags)
    snapshot = _working_snapshot(repo, settings)
    batch.refuse_hopeless(snapshot.plan, snapshot.progress, settings, agents.agent_for)
    found = _views(snapshot, settings)
    if as_json:
        click.echo(pictures.as_json(found, snapshot.graph))
        return EXIT_DONE
    graph, waves = snapshot.graph, snapshot.graph.waves()
    click.echo(f"{snapshot.plan.path} ({snapshot.plan.source}): {len(found)} tasks, {graph.edges} dependencies")
    click.echo(" · ".join(describe(settings)))
    click.echo(
        f"{len(waves)} waves, at most {max(map(len, waves))} side by side; longest chain: "
        f"{' → '.join(_shortened(graph.critical_path()))}"
    )
    for number, wave in enumerate(waves[:20], 1):
        click.echo(f"  {number}. {', '.join(_shortened(wave, 12))}")
    for line in _remarks(snapshot, settings):
        click.echo(f"note: {line}")
    click.echo(", ".join(f"{count} {state}" for state, count in pictures.counts(found).items()))
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
@click.pass_obj
def task(where: str, /, task_id: str, results: Path, manifest: Path, manifest_digest: str) -> int:
    """Job: run one task of the batch and leave its result folder."""
    import tempfile
    from pathlib import Path

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

    context, machine = actions_io.read_context(os.environ), actions_io.Machine(os.environ, sys.stdout)
    frozen, handed = actions.read_manifest(manifest, manifest_digest), actions.round_state(state, context)
    repo = _repository(where)
    job = actions.MergeJob(
        repo,
        frozen,
        results,
        handed,
        Remote(repo, context.token, context.server_url),
        GitHub(context.token, context.repository, context.api_url),
        context,
        machine,
        actions.MergeOptions(verdict, task_result, commit_via, last),
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
    settings = config.load(flags, os.environ, None)
    branch = settings.branch or handed.branch or context.ref_name
    options = actions.ContinueOptions(again, branch, landed, trigger_workflows.replace(",", " ").split())
    github = GitHub(context.token, context.repository, context.api_url)
    return actions.continue_job(settings, handed, context, machine, github, options)


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


def _waits(branch: str) -> str:
    return f"finished work waits on {branch}; take it:  git merge --ff-only {branch}"


def _remarks(snapshot: Snapshot, settings: Settings) -> list[str]:
    """What a user should know of the plan though it is no mistake."""
    from runner import batch

    lines = list(snapshot.plan.notes)
    free = [task.id for task in snapshot.plan.tasks if task.files is None]
    if free:
        lines.append(
            f"{len(free)} tasks declare no files, so clashes among them are found by the merge only: "
            f"{', '.join(_shortened(free))}"
        )
    lines += [
        f"{one} and {other} overlap in files and never share a batch"
        for one, other in batch.clashing(snapshot.plan, snapshot.graph.related)
    ]
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
