"""The command line. A command parses, opens the repository, calls one step and returns
its exit code.

`main` is the only error boundary. The module of a command is imported when it is asked
for, and every command imports what it uses inside its function, so that `fanin --help`
and the task job load neither networkx nor GitPython nor rich.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from types import ModuleType
from typing import Any, NoReturn

# Before the first import that is large: imports create a hundred thousand objects and no
# garbage, but by default the collector scans them again and again. A run has started its
# first agent before it has as many.
gc.set_threshold(100_000)

import click  # noqa: E402

from runner import __version__  # noqa: E402
from runner.core import library_imports  # noqa: E402
from runner.core.errors import EXIT_DONE, EXIT_INTERRUPTED, FaninError  # noqa: E402

EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3

# The sections of `fanin --help`: the names of the commands, and the module of each.
SECTIONS: dict[str, dict[str, str]] = {
    "Run": {"run": "run"},
    "Inspect": {
        "status": "status",
        "show": "show",
        "check": "inspect",
        "graph": "inspect",
        "agents": "inspect",
        "log": "work",
        "diff": "work",
        "kept": "work",
        "report": "html_report",
        "simulate": "simulate",
        "doctor": "doctor",
    },
    "Change the progress": {
        "retry": "progress",
        "skip": "progress",
        "hold": "progress",
        "approve": "progress",
        "reply": "progress",
        "undo": "progress",
        "accept": "progress",
    },
    "Get started": {"init": "init", "demo": "start", "convert": "start"},
    "GitHub issues": {"collect": "issues", "answer": "issues"},
    "Jobs of GitHub Actions": {
        "next": "round_jobs",
        "task": "work_jobs",
        "earlier-results": "work_jobs",
        "verify": "work_jobs",
        "merge": "round_jobs",
        "continue": "round_jobs",
        "comment": "round_jobs",
    },
}
# The name of each command → its module.
_MODULES = {
    name: module for names in SECTIONS.values() for name, module in names.items()
}

# A git hook that starts fanin has these set for the hook's own repository.
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
_MIN_WIDTH, _MAX_WIDTH = 50, 80


class _ReaderGone(Exception):
    """Nobody reads standard output any more."""


class SectionedGroup(click.Group):
    """A group whose help lists its commands in sections, each with its first line.

    `commands` has those that were asked for.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        # click guesses among `commands` what a name that does not exist should be.
        names = [cmd_name] if cmd_name in _MODULES else [*_MODULES]
        for name in names:
            if name not in self.commands:
                module = importlib.import_module(f"runner.cli.{_MODULES[name]}")
                for command in module.COMMANDS:
                    self.add_command(command)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # click would end with 1, as if tasks had failed.
            raise _ReaderGone from None

    def format_commands(
        self,
        ctx: click.Context,
        formatter: click.HelpFormatter,
    ) -> None:
        width = max(map(len, _MODULES))
        for title, names in SECTIONS.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                assert command is not None
                # By default click cuts this line with an ellipsis.
                line = command.get_short_help_str(limit=sys.maxsize)
                rows.append((f"{name:<{width}}", line))
            with formatter.section(title):
                formatter.write_dl(rows)


@click.group(
    cls=SectionedGroup, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="fanin")
@click.option(
    "--repo",
    "-C",
    default=".",
    metavar="PATH",
    type=click.Path(file_okay=False),
    help="The repository (default: that of the current folder).",
)
@click.pass_context
def fanin(ctx: click.Context, repo: str) -> None:
    """Run coding agents in parallel over a plan of tasks; land each batch as one commit."""
    ctx.obj = repo


def main() -> NoReturn:
    """Run fanin; every error becomes one sentence and an exit code."""
    _open_closed_streams()
    _use_utf8()
    _look_for_no_plugins_of_pydantic()
    library_imports.install()
    for name in _INHERITED_GIT:
        os.environ.pop(name, None)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Where the terminal or the pipe is not UTF-8, what it lacks becomes `?`.
        sys.stdout.reconfigure(errors="replace")
    try:
        exit_code = _exit_code()
    except KeyboardInterrupt:  # while something was reported
        _end_on_signals()
        exit_code = EXIT_INTERRUPTED
    # Python would search all objects for garbage once more.
    gc.freeze()
    sys.exit(exit_code or EXIT_DONE)


def _exit_code() -> int | None:
    """Run the command and report what goes wrong."""
    exit_code: int | None
    try:
        # The name is given for `python -m runner`, whose help shall read the same.
        exit_code = fanin.main(
            prog_name="fanin", standalone_mode=False, terminal_width=_help_width()
        )
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        _end_on_signals()
        _report_interrupt(error)
        exit_code = EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        exit_code = EXIT_USAGE
    except FaninError as error:
        # Not at the top: only an error needs pydantic here.
        from runner.core.documents import clean

        # The message may quote a plan, a path or an agent.
        click.echo(f"fanin: {clean(str(error))}", err=True)
        exit_code = error.exit_code
    except (BrokenPipeError, _ReaderGone):
        # The reader of standard output has gone, e.g. `fanin graph | head -1`. Python
        # would report it once more when it flushes the stream at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        exit_code = EXIT_DONE
    except OSError as error:
        what = error.strerror or str(error)
        if error.filename is not None:
            what = f"cannot use {error.filename}: {error.strerror}"
        click.echo(
            f"fanin: {what}; landed work is safe. Fix this and run again", err=True
        )
        exit_code = EXIT_ENVIRONMENT
    except Exception:  # noqa: BLE001  the boundary: anything else is a bug of fanin
        _report_bug()
        exit_code = EXIT_ENVIRONMENT
    return exit_code


def _end_on_signals() -> None:
    # Here, as only a command that was interrupted needs it.
    from runner.core.interrupts import end_on_signals

    end_on_signals()


def _report_interrupt(error: BaseException) -> None:
    """Say what Ctrl-C has done; a question without an answer has said it itself."""
    # click makes an Abort of both.
    if isinstance(error.__cause__ or error, KeyboardInterrupt):
        click.echo(
            "fanin: interrupted; finished work is kept. Continue with  fanin run",
            err=True,
        )


def _open_closed_streams() -> None:
    """Give the standard streams that the caller has closed (`>&-`) the null device.

    Python has None for them, and the next file that is opened would get their number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8")
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")


def _use_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale has another encoding.

    Git's paths and a plan's texts are UTF-8, whatever the terminal shows.
    """
    if sys.flags.utf8_mode or sys.getfilesystemencoding() == "utf-8":
        return
    argv = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
    # What is printed keeps the encoding of the terminal or the pipe.
    encoding = getattr(sys.stdout, "encoding", "utf-8")
    environ = {**os.environ, "PYTHONIOENCODING": encoding}
    os.execve(sys.executable, argv, environ)  # noqa: S606  this program itself


def _look_for_no_plugins_of_pydantic() -> None:
    """pydantic would read the metadata of every installed package to look for plugins.

    It has a variable against that, but imports all the same what would read it, and
    that takes a tenth of its own import.
    """
    if os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__") != "__all__":
        return
    name = "pydantic.plugin._loader"

    def of_the_real_module(attribute: str) -> Any:
        if attribute.startswith("__"):  # the import system asks for `__path__`
            raise AttributeError(attribute)
        del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    module = ModuleType(name)
    vars(module).update(get_plugins=tuple, __getattr__=of_the_real_module)
    sys.modules.setdefault(name, module)


def _help_width() -> int:
    """The width of help texts in columns, computed as click does.

    click calls shutil.get_terminal_size, which would import every compression format.
    """
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() else 0
    if width == 0:
        try:
            width = os.get_terminal_size(1).columns
        except OSError:
            width = 0
    return max(min(width or _MAX_WIDTH, _MAX_WIDTH) - 2, _MIN_WIDTH)


def _report_bug() -> None:
    import platform
    import traceback

    click.echo(
        f"fanin {__version__}: an unexpected error. Please report it with these lines:\n"
        f"Python {platform.python_version()}, {platform.platform()}\n"
        f"{traceback.format_exc()}",
        err=True,
    )
