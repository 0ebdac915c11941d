"""Nothing gets out of the walls: the table of escapes, by each mechanism and as each kind
of user.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from runner.core.events import RunStarted
from tests.support.escapes import ESCAPES, HARMFUL
from tests.support.project import Project, Quiet

# Another user without any of root's rights, or root's rights over its own files only.
_AS_USER = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
_AS_ROOT = ["unshare", "--user", "--map-root-user"]


def _escaped(mechanism: str, *, as_root: bool) -> set[str]:
    is_root = os.geteuid() == 0
    prefix = []
    if as_root and not is_root:
        prefix = _AS_ROOT
    elif is_root and not as_root:
        prefix = _AS_USER
    argv = [sys.executable, "-m", "tests.support.escape_targets", mechanism]
    done = subprocess.run(
        [*prefix, *argv],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1])["escaped"])


@pytest.mark.parametrize(
    ("mechanism", "as_root"),
    [
        ("bubblewrap", True),
        ("bubblewrap-offline", False),
        ("landlock", True),
        ("landlock", False),
    ],
)
def test_no_escape_that_a_mechanism_claims_to_hold_gets_out(
    mechanism: str, as_root: bool
) -> None:
    claimed = {row.name for row in ESCAPES if row.landlock or mechanism != "landlock"}
    if mechanism == "bubblewrap":
        claimed.remove("tcp_socket")  # its network is on
    assert not _escaped(mechanism, as_root=as_root) & claimed


def test_without_walls_the_escapes_get_out() -> None:
    """Or the table would show nothing."""
    held = {row.name for row in ESCAPES} - _escaped("none", as_root=False) - HARMFUL
    # the supervisor ends daemons, and has no terminal; the others need root's rights
    assert held <= {
        *("write_late", "type_into_terminal", "read_raw_memory"),
        *("join_namespace_of_a_process", "read_by_file_handle"),
        *("read_inherited_descriptors", "keep_dangerous_capabilities"),
        *("write_in_rename_race", "read_devices", "read_through_second_mount"),
        *("socket_of_the_host", "socket_of_the_host_by_ring", "read_by_ring"),
    }


_AGENT = """
import os, pathlib, subprocess, sys
print(sys.stdin.read())
pathlib.Path("work.txt").write_text("work\\n")
pathlib.Path(os.environ["FANIN_REPORT"]).write_text('{"summary": "done"}')
log = subprocess.run(["git", "log", "--oneline"], capture_output=True, check=True).stdout
pathlib.Path("seen.txt").write_bytes(log)
"""


def test_a_run_works_within_walls_and_says_which_stand(
    project: Project, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Agent, set-up, the task's verify and that of the merged tree see no work tree."""
    hidden = f"! ls {project.root}/README.md && test -f README.md"
    write = "touch $HOME/new && touch $HOME/notes/new"
    beside = tempfile.mkdtemp(prefix="fanin-beside-", dir="/tmp")
    request.addfinalizer(lambda: Path(beside).rmdir())
    own = f"! test -e {beside}"
    home = tmp_path / "home"
    (home / "notes").mkdir(parents=True)
    (home / "notes/large").write_bytes(bytes(300_000))
    agent = tmp_path / "agent.py"
    agent.write_text(_AGENT)
    # Not that of an environment, which may be below the hidden folder for temporary files.
    python = str(Path(sys.executable).resolve())
    project.plan(
        [{"id": "A", "verify": f"! ls {project.root}/README.md; test -f work.txt"}],
        setup=f"! ls {project.root}/README.md; echo x > set-up.ignored",
        verify=f"test -f set-up.ignored; ! ls {project.root}/README.md; {own}",
        agent={"command": [python, str(agent)]},
        sandbox="auto",
    )
    observer = Quiet()
    project.run(observer)
    assert project.states() == {"A": "completed"}, observer.results
    assert "plan" in project.git("show", "HEAD:seen.txt")
    assert observer.results["A", 1].usage.summary == "done"
    started = next(event for event in observer.events if isinstance(event, RunStarted))
    assert "walls: bubblewrap and Landlock" in started.settings

    project.plan(
        [{"id": "A"}, {"id": "B"}], verify=f"{hidden} && {write}", sandbox="auto"
    )
    refused = project.cli("doctor", env={"HOME": str(home)})
    assert refused.returncode == 2
    assert "the walls refused to write to ~/notes/new" in refused.stdout, refused.stdout
    assert not (home / "new").exists()


def test_a_run_that_requires_walls_is_refused_without_bubblewrap(
    project: Project, tmp_path: Path
) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    for program in ("git", "sh"):
        (path / program).symlink_to(f"/usr/bin/{program}")
    project.plan([{"id": "A", "do": ["write a.txt: a"]}])
    plain = (project.root / "fanin.yml").read_text()
    required = plain.replace("sandbox: 'off'", "sandbox: require")
    for settings in (required, f"{plain}tasks: {{A: {{sandbox: require}}}}\n"):
        project.write("fanin.yml", settings)
        refused = project.cli("run", env={"PATH": str(path)})
        assert refused.returncode == 3
        assert "bubblewrap is not installed" in refused.stderr
        assert "--sandbox auto" in refused.stderr


def test_an_attempt_finds_nothing_in_its_home_that_another_in_its_slot_left(
    project: Project, tmp_path: Path
) -> None:
    names = "$HOME/.bashrc $HOME/.config/tool $HOME/.local/bin/git /tmp/left"
    script = f"""
        mkdir -p $FANIN_TASK "$HOME/.config" "$HOME/.local/bin"
        for each in {names}; do
            test -e "$each" && echo "$each" >>$FANIN_TASK/found
            echo evil >"$each" && echo "$each" >>$FANIN_TASK/left
        done
        pwd >$FANIN_TASK/place
    """
    home = tmp_path / "home"
    home.mkdir()
    project.plan(
        [{"id": "A"}, {"id": "B", "depends_on": ["A"]}],
        setup="echo x > set-up.ignored",
        agent={"command": ["sh", "-c", script]},
        workspace="pooled",
        parallel=1,
        sandbox="auto",
    )
    done = project.cli("run", env={"HOME": str(home)})
    assert done.returncode == 0, done.stdout + done.stderr
    places = {project.git("show", f"HEAD:{task}/place") for task in "AB"}
    assert len(places) == 1
    assert len(project.git("show", "HEAD:A/left").splitlines()) == 4
    files = project.git("ls-tree", "-r", "--name-only", "HEAD", "A", "B").split()
    assert files == ["A/left", "A/place", "B/left", "B/place"]


def test_nothing_can_be_made_beside_the_checkout_or_in_the_folder_of_the_run(
    project: Project,
) -> None:
    script = """
        for each in ../new ../../new; do
            mkdir "$each" 2>/dev/null && echo "$each" >>made
        done
        mkdir /tmp/new && echo /tmp >>made
    """
    project.plan([{"id": "A"}], agent={"command": ["sh", "-c", script]}, sandbox="auto")
    done = project.cli("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.git("show", "HEAD:made") == "/tmp"


def test_set_up_neither_writes_the_agents_report_nor_has_fanin_write_through_a_link(
    project: Project, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("before")
    setup = f"""
        ln -s {victim} /tmp/fanin-prompt.md
        echo '{{"summary": "forged"}}' >/tmp/fanin-report.json
        echo kept >/tmp/kept
        echo x >set-up.ignored
    """
    script = (
        'cp /tmp/kept kept; test ! -L "$FANIN_PROMPT"; grep -c . "$FANIN_PROMPT" >lines'
    )
    project.plan(
        [{"id": "A"}],
        setup=setup,
        agent={"command": ["sh", "-c", script]},
        sandbox="auto",
    )
    observer = Quiet()
    project.run(observer)
    assert project.states() == {"A": "completed"}, observer.results
    assert int(project.git("show", "HEAD:lines")) > 0
    assert project.git("show", "HEAD:kept") == "kept"
    assert observer.results["A", 1].usage.summary is None
    assert victim.read_text() == "before"
