"""What can be typed. Commands parse, build the edges, call one step and return its exit
code.

The one error boundary is `main`. Every command imports what it uses inside itself:
`fanin --help` and a matrix leg must not pay for networkx, GitPython and rich.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from runner import __version__
from runner.cli import inspect, issues, jobs, run
from runner.core.errors import EXIT_DONE, FaninError

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


def _width() -> int:
    """How wide help is written, as click reckons it, but without importing every
    compression format (shutil does).
    """
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
        click.echo(
            "fanin: interrupted; finished work is kept, go on with  fanin run", err=True
        )
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_DONE
    except OSError as error:
        click.echo(
            f"fanin: {error}; what had landed is safe, mend it and run again", err=True
        )
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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fanin")
@click.option(
    "--repo",
    "-C",
    default=".",
    metavar="PATH",
    help="The repository (default: the current folder's).",
)
@click.pass_context
def fanin(ctx: click.Context, repo: str) -> None:
    """Fan coding agents out over a task graph; fan their work in to one commit."""
    ctx.obj = repo


for _room in (run, inspect, jobs, issues):
    for _command in _room.COMMANDS:
        fanin.add_command(_command)
