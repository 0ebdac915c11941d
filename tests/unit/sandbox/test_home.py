"""The home folder of a walled program: links to what may be read, room for what is new."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.sandbox import home as own_home
from runner.sandbox.rules import Access, Rules


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "ann"
    for folder in (
        *(".ssh", ".xo-cache", ".cache/huggingface", ".cache/uv", ".cargo/bin"),
        *(".config/gh", ".config/fontconfig", ".local/share/fonts", ".claude", "shop"),
    ):
        (home / folder).mkdir(parents=True)
    for number in range(60):
        (home / f".cargo/bin/{number}").touch()
    (home / ".ansible/tmp").mkdir(parents=True)
    (home / ".ansible/token").write_text("t")
    (home / ".ansible/link").symlink_to("token")
    (home / ".gitconfig").write_text("[user]\n")
    (home / ".claude.json").write_text("{}")
    return home


def _rules(home: Path, **access: Access) -> Rules:
    names = {".ssh": Access.HIDDEN, ".config/gh": Access.HIDDEN, "shop": Access.HIDDEN}
    rules = {f"{home}/{name}": value for name, value in {**names, **access}.items()}
    return Rules(rules, "/t")


def _links(own: Path) -> dict[str, str]:
    found = {}
    for folder, folders, files in os.walk(own):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if path.is_symlink():
                found[path.relative_to(own).as_posix()] = str(path.readlink())
    return found


def test_what_may_be_read_is_there_and_no_secret_and_no_cache(
    home: Path, tmp_path: Path
) -> None:
    """Small folders are copied, the others linked."""
    (home / ".config/gh/hosts.yml").touch()
    own = tmp_path / "home"
    own_home.make(own, home, _rules(home, **{".claude/auth": Access.HIDDEN}))
    linked = (
        *(".cargo", ".claude", ".claude.json", ".cache/huggingface", ".ansible/link"),
    )
    assert _links(own) == {name: f"{home}/{name}" for name in linked}
    copied = (".config/fontconfig", ".local/share/fonts", ".ansible/tmp")
    assert all((own / name).is_dir() for name in copied)
    assert (own / ".ansible/token").read_text() == "t"
    missing = (".ssh", ".config/gh", ".xo-cache", ".cache/uv", "shop")
    assert not any(os.path.lexists(own / name) for name in missing)


def test_no_folder_is_made_for_caches_that_are_not_there(tmp_path: Path) -> None:
    empty, own = tmp_path / "ann", tmp_path / "home"
    empty.mkdir()
    own_home.make(own, empty, _rules(empty))
    assert list(own.iterdir()) == []


def test_what_is_new_stays_in_the_own_home(home: Path, tmp_path: Path) -> None:
    own = tmp_path / "home"
    own_home.make(own, home, _rules(home))
    (own / ".xo-cache").mkdir()
    names = (".cache/uv", ".config/new", ".local/state/new", ".gitconfig")
    for name in (*names, ".ansible/tmp/new"):
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_text("of the attempt")
    assert not (home / ".config/new").exists()
    assert not (home / ".ansible/tmp/new").exists()
    assert (home / ".gitconfig").read_text() == "[user]\n"


def test_what_the_rules_open_is_linked_also_later_and_in_what_is_hidden(
    home: Path, tmp_path: Path
) -> None:
    own = tmp_path / "home"
    own_home.make(own, home, _rules(home))
    (home / ".ssh/known_hosts").touch()
    (home / ".later").touch()
    opened = {
        ".ssh/known_hosts": Access.READ,
        ".cache/uv": Access.WRITE,
        ".missing": Access.WRITE,
    }
    own_home.make(own, home, _rules(home, **opened))
    links = _links(own)
    assert links[".ssh/known_hosts"] == f"{home}/.ssh/known_hosts"
    assert links[".cache/uv"] == f"{home}/.cache/uv"
    assert ".missing" not in links
    assert ".later" not in links, "what a program removed does not come back"


def test_a_hidden_file_is_not_copied_by_its_link_either(
    home: Path, tmp_path: Path
) -> None:
    (home / ".ssh/gitconfig").write_text("token")
    (home / ".config/gh-link").symlink_to("gh")
    (home / ".gitconfig").unlink()
    (home / ".gitconfig").symlink_to(".ssh/gitconfig")
    own_home.make(tmp_path / "home", home, _rules(home))
    assert not os.path.lexists(tmp_path / "home/.gitconfig")
    assert not os.path.lexists(tmp_path / "home/.config/gh-link")


def test_links_that_a_program_left_are_not_followed(home: Path, tmp_path: Path) -> None:
    own, outside = tmp_path / "home", tmp_path / "outside"
    outside.mkdir()
    own_home.make(own, home, _rules(home))
    (own / ".ssh").symlink_to(outside)
    own_home.make(own, home, _rules(home, **{".ssh/config": Access.READ}))
    own.rename(tmp_path / "moved")
    own.symlink_to(outside)
    with pytest.raises(OSError):
        own_home.make(own, home, _rules(home, **{".claude": Access.WRITE}))
    assert not list(outside.iterdir())
