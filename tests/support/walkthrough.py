"""From a plan of twelve tasks to a merged pull request: the repository, its scripted agent,
and what a person types, in this order.

One test does it, and `docs/screens.py` makes the screens of docs/walkthrough.md of it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.github.forge import Forge

NAME = "octo/shop"
TASKS: list[dict[str, Any]] = [
    {"id": "T1", "title": "Read the price list"},
    {"id": "T2", "title": "Round to whole cents"},
    {"id": "T3", "title": "Count the stock"},
    {"id": "T4", "title": "Keep the orders", "depends_on": ["T3"]},
    {"id": "T5", "title": "Show prices in dollars", "files": ["shop/dollars.py"]},
    {"id": "T6", "title": "Put goods into the cart", "depends_on": ["T1", "T3"]},
    {"id": "T7", "title": "Print a receipt", "depends_on": ["T4", "T6"]},
    {"id": "T8", "title": "Search the price list", "depends_on": ["T1"]},
    {
        "id": "T9",
        "title": "Move old prices to cents",
        "depends_on": ["T2"],
        "gate": True,
    },
    {"id": "T10", "title": "Send the receipt by mail", "depends_on": ["T7"]},
    {"id": "T11", "title": "Grant discounts", "depends_on": ["T2", "T5"]},
    {
        "id": "T12",
        "title": "Describe the shop",
        "depends_on": ["T7", "T8", "T9", "T11"],
    },
]
SETTINGS = {
    # the screens are to be the same on all machines
    "sandbox": "off",
    "deliver": "pull-request",
    "parallel": True,
    "max_concurrent": 4,
    "max_attempts": 1,
    "verify": "python3 check.py",
    "agent": {"command": ["python3", "agent.py"]},
}
_CHECK = """\
import pathlib

for path in sorted(pathlib.Path("shop").glob("*.py")):
    compile(path.read_text(), str(path), "exec")
"""
AGENT = '''\
"""A scripted agent: one task asks, one leaves its files, one does the wrong thing."""
import os
import sys
from pathlib import Path

task, prompt = os.environ["FANIN_TASK"], sys.stdin.read()
NAMES = dict(
    T1="prices", T2="rounding", T3="stock", T4="orders", T5="dollars", T6="cart",
    T7="receipt", T8="search", T9="migration", T10="mail", T11="discounts",
)  # fmt: skip


def write(path, text):
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(text)


if task == "T2":
    half = "ROUND_HALF_UP" if "half up" in prompt else "ROUND_HALF_EVEN"
    write(
        "shop/rounding.py",
        f"from decimal import Decimal, {half}\\n\\n\\n"
        "def rounded(price):\\n"
        f'    return price.quantize(Decimal("0.01"), {half})\\n',
    )
elif task == "T4" and "SQLite" not in prompt:
    write("shop/orders.py", "ORDERS = ...\\n")
    write(".fanin/question.md", "A file or a database? The plan says neither.\\n")
elif task == "T4":
    write("shop/orders.py", "import sqlite3\\n")
elif task == "T5":
    write("shop/dollars.py", "from shop.signs import DOLLAR\\n")
    if "dollars.py alone" not in prompt:
        write("shop/signs.py", 'DOLLAR = "$"\\n')
elif task == "T12":
    write("README.md", "# The shop\\n")
else:
    write(f"shop/{NAMES[task]}.py", f"# {NAMES[task]}\\n")
'''
FILES = {
    "tasks.yml": json.dumps({"version": 1, "tasks": TASKS}, indent=1),
    "fanin.yml": json.dumps(SETTINGS, indent=1),
    "agent.py": AGENT,
    "check.py": _CHECK,
    ".gitignore": "__pycache__/\n",
}


@dataclass(frozen=True)
class Typed:
    """The arguments of a `fanin` that the person types, and its exit code."""

    arguments: str
    exit_code: int = 0


@dataclass(frozen=True)
class Step:
    """What is shown on one screen of the page."""

    screen: str
    typed: tuple[Typed, ...]


_BEFORE_THE_MERGE = (
    Step("twelve-run", (Typed("run", 1),)),
    Step("twelve-status", (Typed("status", 1),)),
    Step("twelve-diff", (Typed("diff T2"),)),
    Step(
        "twelve-decisions",
        (
            Typed("undo T2"),
            Typed('retry T2 --message "Round half up: 2.675 becomes 2.68."'),
            Typed('reply T4 "SQLite. We have no server."'),
            Typed("accept T5"),
            Typed("approve T9"),
        ),
    ),
    Step("twelve-again", (Typed("run"),)),
)
_AFTER_THE_MERGE = Step("twelve-merged", (Typed("status"), Typed("run")))


class Walkthrough:
    """The repository on the forge and the person's clone of it, at `root`."""

    def __init__(self, folder: Path, forge: Forge, environ: Mapping[str, str]) -> None:
        """`folder` gets the clone; `environ` is that of the git which makes it."""
        self.repository = forge.create(NAME, FILES)
        self.root = folder / "shop"
        self.token = {"GITHUB_TOKEN": forge.token}
        url = f"http://127.0.0.1:{forge.port}/{NAME}"
        clone = ["git", "clone", "-q", url, str(self.root)]
        subprocess.run(clone, env=dict(environ), check=True)

    @property
    def pull(self) -> dict[str, Any]:
        """The run's one pull request."""
        [pull] = self.repository.pulls.values()
        return pull

    def steps(self) -> Iterator[Step]:
        """Each step, which is to be done before the next is asked for. Before the last
        one somebody merges the pull request.
        """
        yield from _BEFORE_THE_MERGE
        self.repository.merge_pull(self.pull["number"], "squash")
        yield _AFTER_THE_MERGE
