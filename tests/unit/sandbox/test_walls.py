"""What the walls of a run make of the start of one program."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from runner.core.sandbox import SandboxSettings
from runner.sandbox.choose import Choice
from runner.sandbox.rules import Surroundings
from runner.sandbox.walls import Walled, Walls


def _around(folder: Path, choice: Choice, home: str = "home/ann") -> Walled:
    """The walls of a program whose checkout is `tmp/fanin-1/0/checkout`."""
    checkout = folder / "tmp/fanin-1/0/checkout"
    for path in (checkout, folder / "home/ann/shop/.git"):
        path.mkdir(parents=True, exist_ok=True)
    (folder / "home/ann/.gitconfig").write_text("[user]\n")
    around = Surroundings(
        homes=(folder / "home/ann",),
        temporary=(folder / "tmp",),
        repository=(folder / "home/ann/shop",),
    )
    walls = Walls(choice, SandboxSettings(), around)
    return walls.around(checkout, {"HOME": str(folder / home)})


@pytest.mark.parametrize(
    ("choice", "name"),
    [(Choice("bwrap", 6), "fanin-1"), (Choice(landlock=6), "home")],
)
def test_the_home_is_the_one_folder_that_bubblewrap_needs_beside_it(
    tmp_path: Path, choice: Choice, name: str
) -> None:
    walled = _around(tmp_path, choice)
    home = Path(walled.variables["HOME"])
    assert home == tmp_path / "tmp/fanin-1/0/tmp" / name
    assert list(home.parent.iterdir()) == [home]
    assert (home / ".gitconfig").read_text() == "[user]\n"
    if choice.bubblewrap:
        assert f"--tmpfs {tmp_path}/tmp/{name} " in " ".join(walled.prefix)


def test_the_home_is_made_where_bubblewrap_has_mounted_before(tmp_path: Path) -> None:
    """As it does for a program that has another home."""
    choice = Choice("bwrap", 6)
    assert "HOME" not in _around(tmp_path, choice, home="other").variables
    (tmp_path / "tmp/fanin-1/0/tmp/fanin-1").mkdir(mode=0o755)
    home = Path(_around(tmp_path, choice).variables["HOME"])
    assert (home / ".gitconfig").read_text() == "[user]\n"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
