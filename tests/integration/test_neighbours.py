"""What one agent does to the folders beside its own changes no other agent's result,
except where it changes the other's files themselves.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import Project, Quiet

# Waits for a neighbour, then writes into or removes everything beside its own folder
# but the files of checkouts. The neighbour goes on when the file sys.argv[2] is there.
ATTACK = r"""
import pathlib, shutil, sys, time

how, done = sys.argv[1], pathlib.Path(sys.argv[2])
mine = pathlib.Path.cwd().parent
while not (started := list(mine.parent.glob("*/checkout/started"))):
    time.sleep(0.01)
places = [place for place in mine.parent.iterdir() if place != mine]
FILTER = f'[filter "trap"]\n\tclean = env > {done}.environment; sed s/honest/forged/\n'
GIT_FILES = {
    "config": FILTER,
    "info/attributes": "* filter=trap\n",
    "info/exclude": "*\n",
    "hooks/post-index-change": "#!/bin/sh\nenv > trap\n",
    "objects/info/alternates": "/nowhere\n",
}


def is_work_tree_file(path):
    return "checkout" in path.parts and ".git" not in path.parts


def ruin(path):
    if path.name == "config":
        path.write_text(path.read_text() + FILTER)
    elif path.is_file() and not is_work_tree_file(path):
        path.write_bytes(b"ruined")


for place in places:
    for path in [place, *place.rglob("*")]:
        if how == "remove" and path.exists() and not is_work_tree_file(path):
            if path not in (place, place / "checkout"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif how == "write":
            ruin(path)
            if path.name == ".git" or (path / "HEAD").exists():
                for name, text in GIT_FILES.items():
                    (path / name).parent.mkdir(parents=True, exist_ok=True)
                    (path / name).write_text(text)
done.touch()
"""
NEIGHBOUR = """
echo honest > a.txt
echo changed > README.md
touch started
while [ ! -e "$0" ]; do sleep 0.01; done
rm started
"""


@pytest.mark.parametrize("how", ["write", "remove"])
@pytest.mark.parametrize("prepared", [False, True], ids=["", "after set-up"])
def test_git_directories_beside_an_agents_own_matter_to_nobody(
    project: Project, tmp_path: Path, how: str, prepared: bool
) -> None:
    done = tmp_path / "done"
    tasks: list[dict[str, Any]] = [
        {
            "id": "ATTACKER",
            "allow_empty": True,
            "agent": {"command": [sys.executable, "-c", ATTACK, how, str(done)]},
        },
        {
            "id": "NEIGHBOUR",
            "agent": {"command": ["sh", "-c", NEIGHBOUR, str(done)]},
        },
    ]
    settings = {"setup": "echo set-up > made-by-set-up"} if prepared else {}
    project.plan(tasks, max_concurrent=2, timeout="60s", **settings)
    project.run(observer := Quiet())
    assert set(project.states().values()) == {"completed"}, observer.fan_ins
    changed = project.git("diff", "--name-only", "HEAD~1", "HEAD").split()
    assert changed == [".fanin/progress.json", "README.md", "a.txt"]
    assert (project.root / "a.txt").read_text() == "honest\n"
    assert (project.root / "README.md").read_text() == "changed\n"
    assert not Path(f"{done}.environment").exists()


# Waits for the neighbour's result, then changes or removes what sys.argv[2] names in it.
RESULT_ATTACK = r"""
import json, pathlib, shutil, sys, time

runs, name = pathlib.Path(sys.argv[1]), sys.argv[2]
while not (ended := list(runs.glob("*/*/001/result.json"))):
    time.sleep(0.01)
folder = ended[0].parent
time.sleep(0.5)  # until it is durable
if name == "result.json":
    document = json.loads(ended[0].read_text())
    document["usage"] = {"summary": "forged"}
    ended[0].write_text(json.dumps(document))
elif name == "agent.log":
    (folder / name).write_bytes(b"forged")
elif name == "change.pack":
    (folder / name).chmod(0o600)
    (folder / name).write_bytes(b"forged")
else:
    shutil.rmtree(folder)
"""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("result.json", "corrupt"),
        ("change.pack", "corrupt"),
        ("the folder", "no_result"),
        # for people alone
        ("agent.log", None),
    ],
)
def test_a_result_that_a_neighbour_changes_before_it_is_merged_is_refused(
    project: Project, name: str, kind: str | None
) -> None:
    runs = project.root / ".git" / "fanin" / "runs"
    attack = [sys.executable, "-c", RESULT_ATTACK, str(runs), name]
    tasks: list[dict[str, Any]] = [
        {"id": "ATTACKER", "allow_empty": True, "agent": {"command": attack}},
        {"id": "NEIGHBOUR", "do": ["write a: honest"]},
    ]
    project.plan(tasks, max_concurrent=2, timeout="60s", max_attempts=1)
    project.run(observer := Quiet())
    failed = observer.fan_ins[0].failed
    assert {task: failure.kind for task, failure in failed.items()} == (
        {} if kind is None else {"NEIGHBOUR": kind}
    )
    assert project.records()["NEIGHBOUR"].get("summary") != "forged"
