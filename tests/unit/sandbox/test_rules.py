"""What may be read and written: the rule for the longer path holds."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from runner.core.sandbox import SandboxSettings
from runner.sandbox import bubblewrap, grants, landlock
from runner.sandbox.rules import (
    Access,
    Enclosure,
    Rules,
    Surroundings,
    access_of_run,
    rules_of,
)

HOME = Path("/home/ann")
REPOSITORY = HOME / "shop"
CHECKOUT = Path("/tmp/fanin-1/0/checkout")
AROUND = Surroundings(
    homes=(HOME,),
    temporary=(Path("/tmp"), Path("/var/tmp")),
    repository=(REPOSITORY, REPOSITORY / ".git"),
    objects=(REPOSITORY / ".git/objects",),
    programs=(REPOSITORY / ".venv/bin", REPOSITORY / "bin", HOME / ".cargo/bin"),
    secrets=(".codex/auth.json", ".claude/.credentials.json"),
    sockets={"docker": (Path("/run/docker.sock"),), "ssh-agent": (Path("/a/sock"),)},
)


def _rules(
    settings: SandboxSettings | None = None, *, protected: tuple[Path, ...] = ()
) -> Rules:
    enclosure = Enclosure(
        (CHECKOUT, HOME / ".claude", HOME / ".claude/.credentials.json"),
        CHECKOUT.with_name("tmp"),
        protected=protected,
    )
    of_run = access_of_run(settings or SandboxSettings(), AROUND, str)
    return rules_of(of_run, enclosure, ("/tmp", "/var/tmp"), str)


@pytest.mark.parametrize(
    ("path", "access"),
    [
        ("/usr/lib/python3", Access.READ),
        ("/home/ann/.gitconfig", Access.READ),
        ("/home/ann/.ssh/id_ed25519", Access.HIDDEN),
        ("/home/ann/.sshd", Access.READ),
        ("/home/ann/.claude/projects", Access.WRITE),
        ("/home/ann/.claude/.credentials.json", Access.WRITE),
        ("/home/ann/.codex/auth.json", Access.HIDDEN),
        ("/home/ann/.codex/config.toml", Access.READ),
        ("/home/ann/shop/main.py", Access.HIDDEN),
        ("/home/ann/shop/.git/config", Access.HIDDEN),
        ("/home/ann/shop/.git/objects/pack", Access.READ),
        ("/home/ann/shop/.venv/lib/python3", Access.READ),
        ("/home/ann/shop/bin/tool", Access.READ),
        ("/run/docker.sock", Access.HIDDEN),
        ("/run/systemd/resolve/stub-resolv.conf", Access.READ),
        ("/tmp/fanin-1/1/checkout/main.py", Access.HIDDEN),
        ("/tmp/fanin-1/0/checkout.index", Access.HIDDEN),
        ("/tmp/fanin-1/0/checkout/main.py", Access.WRITE),
        ("/tmp/fanin-1/0/tmp/x", Access.WRITE),
    ],
)
def test_the_longest_path_decides(path: str, access: Access) -> None:
    assert _rules().access(path) is access


def test_settings_open_and_close_paths_and_sockets() -> None:
    settings = SandboxSettings.model_validate(
        {
            "write": ["~/.cargo", "build"],
            "read": ["~/.ssh/known_hosts", "/tmp/data"],
            "hide": ["~/diary"],
            "sockets": ["docker"],
        }
    )
    rules = _rules(settings)
    expected = {
        "/home/ann/.cargo/registry": Access.WRITE,
        "/home/ann/.cargo/credentials": Access.HIDDEN,
        "/home/ann/shop/build/x": Access.WRITE,
        "/home/ann/.ssh/known_hosts": Access.READ,
        "/home/ann/.ssh/id": Access.HIDDEN,
        "/tmp/data": Access.READ,
        "/home/ann/diary": Access.HIDDEN,
        "/run/docker.sock": Access.READ,
        "/a/sock": Access.HIDDEN,
    }
    assert {path: rules.access(path) for path in expected} == expected


def test_what_steers_a_persons_sessions_stays_closed_in_what_is_open() -> None:
    settings = HOME / ".claude/settings.json"
    rules = _rules(protected=(settings,))
    assert rules.access(str(settings)) is Access.READ


def _kind_of(path: str) -> bubblewrap.Kind | None:
    if path.endswith(("resolv.conf", "/bin", "wrappers")):
        return None
    return "file" if path.endswith((".sock", ".netrc")) else "folder"


def test_bubblewrap_mounts_the_shorter_paths_first() -> None:
    texts = bubblewrap.arguments(
        _rules(), _kind_of, is_root=False, working_folder=CHECKOUT
    )
    line = " ".join(texts)
    order = [
        "--ro-bind / /",
        "--bind /tmp/fanin-1/0/tmp /tmp ",
        "--tmpfs /home/ann/shop ",
        "--tmpfs /tmp/fanin-1 ",
        "--bind /tmp/fanin-1/0/checkout ",
        "--ro-bind /home/ann/shop/.git/objects ",
        "--remount-ro /home/ann/shop ",
        "--remount-ro /tmp/fanin-1 ",
        "--chdir /tmp/fanin-1/0/checkout",
    ]
    places = [line.index(text) for text in order]
    assert places == sorted(places)
    assert "--ro-bind /dev/null /home/ann/.netrc" in line
    assert "--cap-add" not in line
    assert "--unshare-net" not in line
    assert "wrappers" not in line, "what is not there cannot be mounted"
    assert line.count("--tmpfs /tmp/fanin-1 ") == 1


def test_bubblewrap_makes_one_folder_on_a_disk_for_all_that_lies_below_it() -> None:
    settings = SandboxSettings(read=("/tmp/data", "/tmp/cache/a/b", "/tmp/cache/a/c"))
    texts = bubblewrap.arguments(
        _rules(settings), _kind_of, is_root=False, working_folder=CHECKOUT
    )
    mounts = itertools.pairwise(texts)
    in_memory = {path for option, path in mounts if option == "--tmpfs"}
    below = {path for path in in_memory if path.startswith("/tmp/")}
    assert below == {"/tmp/cache", "/tmp/fanin-1"}
    assert "--ro-bind /tmp/data /tmp/data" in " ".join(texts)


IN_MEMORY = Path("/dev/shm/ann")


def _rules_in_shared_memory(*read: str) -> Rules:
    around = Surroundings(
        homes=(HOME,),
        temporary=(Path("/tmp"), IN_MEMORY / "tmp"),
        repository=(IN_MEMORY / "shop", IN_MEMORY / "shop/.git"),
        objects=(IN_MEMORY / "shop/.git/objects",),
        programs=(IN_MEMORY / "venv/bin", IN_MEMORY / "fanin"),
    )
    checkout = IN_MEMORY / "tmp/fanin-1/0/checkout"
    enclosure = Enclosure((checkout,), checkout.with_name("tmp"))
    of_run = access_of_run(SandboxSettings(read=read), around, str)
    return rules_of(of_run, enclosure, ("/tmp", str(IN_MEMORY / "tmp")), str)


def test_bubblewrap_mounts_what_is_read_in_shared_memory_and_for_reading_alone() -> (
    None
):
    texts = bubblewrap.arguments(
        _rules_in_shared_memory("/dev/shm/data", "/dev/video0"),
        _kind_of,
        is_root=False,
        working_folder=CHECKOUT,
    )
    mounts = dict(zip(texts[2:], texts, strict=False))
    for path in (
        "/dev/shm/ann/shop/.git/objects",
        "/dev/shm/ann/fanin",
        "/dev/shm/data",
    ):
        assert mounts[path] == "--ro-bind"
    assert mounts["/dev/shm/ann/tmp/fanin-1/0/checkout"] == "--bind"
    assert mounts["/dev/video0"] == "--dev-bind", "a device cannot be opened otherwise"


def test_landlock_alone_keeps_what_is_hidden_in_shared_memory_closed() -> None:
    def granted(rules: Rules) -> dict[str, int]:
        return dict(grants.alone(rules, lambda _: ()))

    assert granted(_rules())["/dev/shm"] & landlock.WRITE_FILE
    rights = granted(_rules_in_shared_memory())
    open_paths = {path for path in rights if rights[path] & landlock.READ_FILE}
    assert not open_paths & {"/dev", "/dev/shm", "/dev/shm/ann", "/dev/shm/ann/shop"}
    assert not rights["/dev/shm/ann/shop/.git/objects"] & landlock.WRITE_FILE
    checkout = "/dev/shm/ann/tmp/fanin-1/0/checkout"
    assert rights[checkout] & landlock.WRITE_FILE


def test_landlock_alone_allows_the_neighbours_of_what_is_hidden_one_by_one() -> None:
    folders = {
        "/": ["/usr", "/home", "/tmp", "/run"],
        "/home": ["/home/ann", "/home/bob"],
        "/home/ann": ["/home/ann/.ssh", "/home/ann/src", "/home/ann/.codex"],
        "/home/ann/.codex": ["/home/ann/.codex/auth.json", "/home/ann/.codex/x"],
    }
    granted = dict(grants.alone(_rules(), lambda path: folders.get(path, [])))
    readable = {path for path, rights in granted.items() if rights & landlock.READ_FILE}
    assert {"/usr", "/home/bob", "/home/ann/src", "/home/ann/.codex/x"} <= readable
    assert not readable & {"/", "/home", "/home/ann", "/tmp", "/home/ann/.ssh", "/run"}
    assert granted[str(CHECKOUT)] & landlock.WRITE_FILE
    assert not granted["/home/ann/shop/.git/objects"] & landlock.WRITE_FILE


@pytest.mark.parametrize(
    ("version", "last_right"), [(1, 12), (2, 13), (3, 14), (4, 14), (5, 15), (9, 16)]
)
def test_a_ruleset_has_the_rights_that_its_version_knows(
    version: int, last_right: int
) -> None:
    assert landlock.handled(version).bit_length() == last_right + 1
    header, rule = landlock.encode(version, [("/a b", landlock.WRITE)], network=False)
    number, rights, tcp, scoped = map(int, header.split())
    assert (number, rights) == (version, landlock.handled(version))
    assert bool(tcp) == (version >= 4)
    assert bool(scoped) == (version >= 6)
    allowed, _, path = rule.partition(" ")
    assert path == "/a b"
    assert int(allowed) & ~rights == 0
