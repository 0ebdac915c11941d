"""What may enter the branch: names, scopes, symlinks, limits and clashes, each refusal
with its remedy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from runner.config.settings import PROTECTED, Settings
from runner.core.limits import Limits
from runner.core.result import Failure, FailureKind
from runner.policy import globs, paths
from runner.policy.change import EXECUTABLE, GITLINK, REGULAR, SYMLINK, Change
from runner.policy.git_files import Fault
from runner.policy.paths import Spellings
from runner.policy.rules import (
    check,
    escaping_links,
    left_out,
    may_meet,
    only_protected,
)
from tests.support.builders import BLOB, task


def _added(
    path: str, *, size: int = 1, mode: str = REGULAR, target: str | None = None
) -> Change:
    return Change(path, None, (mode, BLOB), size, target)


def _edited(path: str) -> Change:
    return Change(path, (REGULAR, BLOB), (REGULAR, "2" * 40), 1)


def _deleted(path: str) -> Change:
    return Change(path, (REGULAR, BLOB), None)


def _check(
    *changes: Change,
    base: list[str] | None = None,
    limits: Limits | None = None,
    **fields: Any,
) -> Failure | None:
    return check(
        task(**fields),
        changes,
        protected=("action.yml", ".github/**"),
        never=("/tasks.yml", "/.fanin/**"),
        limits=limits or Limits(),
        spellings=Spellings(base or ()),
    )


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        "a/.git/hooks/x",
        ".GIT/config",
        "git~1/x",
        "GIT~2/x",
        ".git./x",
        ".git /x",
        ".git. . /x",
        ".g\u200cit/x",
        "\ufeff.git/x",
        ".git::$INDEX_ALLOCATION/x",
        "a\\.git\\config",
        "a//b",
        "/a",
        "a/",
        "../a",
        "a/../b",
        "./a",
        "",
        "a\nb",
        "a\x7fb",
        "a\x00",
    ],
    ids=repr,
)
def test_a_name_that_no_checkout_can_safely_hold_is_refused(path: str) -> None:
    assert paths.unusable_name(path)
    failure = _check(_added(path))
    assert failure is not None
    assert failure.kind is FailureKind.POLICY


@pytest.mark.parametrize(
    "path",
    [
        "a",
        ".gitignore",
        ".github/x",
        "agit~1",
        "git",
        "x.git",
        "digit/a",
        "...",
        "a b",
        "größe.py",
        ".gitx/y",
        "a\\b",
    ],
)
def test_an_ordinary_name_is_fine(path: str) -> None:
    assert paths.unusable_name(path) is None


@pytest.mark.parametrize(
    ("path", "target", "leaves"),
    [
        ("a", "b", False),
        ("a", "b/c", False),
        ("a/b", "../c", False),
        ("a/b", "..", False),
        ("a", ".", False),
        ("a", "..", True),
        ("a/b", "../../c", True),
        ("a", "/etc/passwd", True),
        ("a", "b/../../c", True),
        ("a", ".git/config", True),
        ("a/b", "../.git", True),
        ("a", "x/.GIT/hooks", True),
        ("a", "..\\..\\c", True),
        ("a", "b\nc", True),
    ],
)
def test_a_symlink_out_of_the_repository_is_refused(
    path: str, target: str, leaves: bool
) -> None:
    assert paths.leaves_tree(path, target) is leaves
    failure = _check(_added(path, mode=SYMLINK, target=target))
    assert (failure is not None) is leaves


@pytest.mark.parametrize(
    ("up", "to_the_top", "out", "target"),
    [
        ("a/b/up", "../..", "c", "a/b/up/../secret"),
        ("d/up", "..", "d/c", "up/../secret"),
    ],
)
def test_two_symlinks_may_not_leave_the_repository_together(
    up: str, to_the_top: str, out: str, target: str
) -> None:
    first, second = (
        _added(up, mode=SYMLINK, target=to_the_top),
        _added(out, mode=SYMLINK, target=target),
    )
    assert _check(first) is None
    assert _check(first, second) is not None


@pytest.mark.parametrize(
    ("fields", "change", "kind", "message"),
    [
        ({}, _edited("src/a.py"), None, ""),
        ({"files": ("src/**",)}, _edited("src/a.py"), None, ""),
        (
            {"files": ("src/**",)},
            _edited("lib/a.py"),
            FailureKind.SCOPE,
            "lib/a.py is outside the task's files (add it to the task's files",
        ),
        (
            {"files": ("src/**",)},
            _deleted("lib/a.py"),
            FailureKind.SCOPE,
            "lib/a.py is outside",
        ),
        ({"files": ()}, _added("a"), FailureKind.SCOPE, "a is outside"),
        ({"files": ("*", "!a")}, _added("a"), FailureKind.SCOPE, "a is outside"),
        (
            {},
            _edited("action.yml"),
            FailureKind.POLICY,
            "action.yml is a protected path (add it to the task's allow",
        ),
        (
            {},
            _deleted("action.yml"),
            FailureKind.POLICY,
            "action.yml is a protected path",
        ),
        (
            {"files": ("action.yml",)},
            _edited("action.yml"),
            FailureKind.POLICY,
            "is a protected path",
        ),
        ({"allow": ("action.yml",)}, _edited("action.yml"), None, ""),
        (
            {"files": ("src/**",), "allow": ("action.yml",)},
            _edited("action.yml"),
            None,
            "",
        ),
        (
            {"allow": ("action.yml",)},
            _edited(".github/x"),
            FailureKind.POLICY,
            "is a protected path",
        ),
        (
            {"allow": ("**",)},
            _edited("tasks.yml"),
            FailureKind.POLICY,
            "tasks.yml is fanin's own file",
        ),
        (
            {"allow": ("**",)},
            _edited(".fanin/progress.json"),
            FailureKind.POLICY,
            "is fanin's own file",
        ),
        ({"allow": ("**",)}, _edited("sub/tasks.yml"), None, ""),
        (
            {},
            _added("lib", mode=GITLINK),
            FailureKind.POLICY,
            "lib is a repository inside the repository (remove",
        ),
        ({}, _added("run.sh", mode=EXECUTABLE), None, ""),
    ],
    ids=str,
)
def test_a_change_is_within_the_tasks_files_and_outside_the_protected(
    fields: dict[str, Any], change: Change, kind: FailureKind | None, message: str
) -> None:
    failure = _check(change, **fields)
    assert (failure.kind if failure else None) is kind
    assert message in (failure.message if failure else "")
    assert failure is None or failure.message.startswith(f"{change.path} ")


def test_a_refusal_that_every_task_would_meet_outranks_one_of_scope() -> None:
    failure = _check(_edited("lib/a.py"), _edited("action.yml"), files=("src/**",))
    assert failure is not None
    assert failure.kind is FailureKind.POLICY


def test_a_refused_attempt_may_be_tried_again() -> None:
    failure = _check(_edited("action.yml"))
    assert failure is not None
    assert failure.retryable
    assert failure.counted


def test_many_refusals_are_named_up_to_five_and_counted() -> None:
    failure = _check(*(_edited(f"lib/{n}") for n in range(8)), files=())
    assert failure is not None
    assert failure.message.startswith("lib/0 is outside the task's files")
    assert failure.message.count("\n- lib/") == 4
    assert failure.message.endswith("\n- and 3 more")


@pytest.mark.parametrize(
    ("changes", "limits", "message"),
    [
        ([_added(str(n)) for n in range(3)], Limits(files=3), None),
        (
            [_added(str(n)) for n in range(4)],
            Limits(files=3),
            "4 files changed, more than limits.files = 3",
        ),
        ([_added("a", size=1000)], Limits(size=1000), None),
        (
            [_added("a", size=600), _added("b", size=401)],
            Limits(size=1000),
            "1,001 bytes changed, more than limits.size",
        ),
        ([_deleted("a")], Limits(size=1), None),
    ],
)
def test_a_change_larger_than_the_limits_is_refused(
    changes: list[Change], limits: Limits, message: str | None
) -> None:
    failure = _check(*changes, limits=limits)
    assert (
        (failure is None)
        if message is None
        else (failure is not None and message in failure.message)
    )


@pytest.mark.parametrize(
    ("changes", "base", "other"),
    [
        ([_added("readme.md")], ["README.md"], "README.md"),
        ([_added("Docs/a")], ["docs/b"], "docs"),
        ([_added("re\u0301sume\u0301")], ["r\u00e9sum\u00e9"], "r\u00e9sum\u00e9"),
        ([_added("stra\u00dfe")], ["STRASSE"], "STRASSE"),
        ([_added("a"), _added("A")], [], "A"),
        ([_added("x/a"), _added("X/b")], [], "X"),
        # a renaming
        ([_added("readme.md"), _deleted("README.md")], ["README.md"], None),
        ([_added("docs/b")], ["docs/a"], None),
        ([_edited("readme.md")], ["readme.md", "README.md"], None),  # it was so before
        ([_added("b")], ["a"], None),
    ],
    ids=str,
)
def test_names_that_differ_by_case_or_unicode_form_only_may_not_be_added(
    changes: list[Change], base: list[str], other: str | None
) -> None:
    failure = _check(*changes, base=base)
    if other is None:
        assert failure is None
    else:
        assert failure is not None
        assert f"differs from {other} only by case or Unicode form" in failure.message


@pytest.mark.parametrize("path", ["caf\udce9.txt", "a\n.git"])
def test_a_refusal_can_be_stored_whatever_bytes_the_name_has(path: str) -> None:
    failure = _check(_added(path), files=("src/**",))
    assert failure is not None
    json.loads(failure.model_dump_json())
    assert failure.message.encode()


@pytest.mark.parametrize(
    ("files", "allow", "only"),
    [
        (None, (), False),
        ((), (), False),
        (("action.yml",), (), True),
        (("/action.yml", "tasks.yml"), (), True),
        (("action.yml", "src/a.py"), (), False),
        (("action.yml",), ("action.yml",), False),
        (("tasks.yml",), ("tasks.yml",), True),
        (("*.yml",), (), False),
        (("action.yml", "!x"), (), True),
    ],
    ids=str,
)
def test_a_task_with_only_protected_files_is_recognized(
    files: tuple[str, ...] | None, allow: tuple[str, ...], only: bool
) -> None:
    assert (
        only_protected(task(files=files, allow=allow), ("action.yml",), ("/tasks.yml",))
        is only
    )


def test_scope_warn_accepts_changes_outside_files_with_a_warning() -> None:
    warnings: list[str] = []
    rules: dict[str, Any] = {
        "protected": ("action.yml",),
        "never": (),
        "limits": Limits(),
        "warned": warnings,
    }
    assert check(task(files=["a"]), [_added("b")], scope="warn", **rules) is None
    assert warnings == [
        "T1: b is outside the task's files (add it to the task's files if the task should change it)"
    ]
    refused = check(
        task(files=["a"]), [_added("b"), _added("action.yml")], scope="warn", **rules
    )
    assert refused is not None
    assert refused.kind is FailureKind.POLICY
    assert "- b" not in refused.message


@pytest.mark.parametrize(("fields", "let_in"), [
    ({}, False), ({"files": ["run.sh"]}, True), ({"allow": ["run.sh"]}, True), ({"files": ["*.py"]}, False),
])  # fmt: skip
@pytest.mark.parametrize(("old", "new"), [(REGULAR, EXECUTABLE), (EXECUTABLE, REGULAR)])
def test_executable_bit_alone_changes_only_where_the_file_is_named(
    fields: dict[str, Any], let_in: bool, old: str, new: str
) -> None:
    failure = _check(Change("run.sh", (old, BLOB), (new, BLOB), 1), **fields)
    assert (failure is None) is let_in
    assert failure is None or "run.sh" in failure.message


def test_executable_bit_together_with_content_is_an_ordinary_change() -> None:
    assert _check(Change("run.sh", (REGULAR, BLOB), (EXECUTABLE, "2" * 40), 1)) is None


@pytest.mark.parametrize(
    ("target", "refused"),
    [("x", False), ("../x", False), ("../../x", True), ("/etc", True)],
)
def test_a_link_out_of_a_merged_tree_is_refused(target: str, refused: bool) -> None:
    failure = escaping_links(
        [_added("d/link", mode=SYMLINK, target=target), _deleted("e/link")]
    )
    assert (failure is not None) is refused


def test_protected_paths_that_files_match_are_named_before_the_run() -> None:
    tracked = ["src/a.py", "src/action.yml", "docs/x"]
    assert may_meet(task(files=["src/**"]), tracked, ("action.yml",), ()) == [
        "src/action.yml"
    ]
    assert (
        may_meet(
            task(files=["src/**"], allow=["src/action.yml"]),
            tracked,
            ("action.yml",),
            (),
        )
        == []
    )
    assert may_meet(task(), tracked, ("action.yml",), ()) == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("d/" * 101 + "f", "is more than 100 folders deep"),
        ("n" * 256, "has a name of more than 255 bytes"),
        ("ä" * 128, "has a name of more than 255 bytes"),
        (("n" * 250 + "/") * 12 + "f", "is longer than 3,000 bytes"),
    ],
)
def test_a_path_that_some_file_system_cannot_hold_is_refused(
    path: str, reason: str
) -> None:
    failure = _check(_added(path))
    assert failure is not None
    assert failure.kind is FailureKind.POLICY
    assert reason in failure.message
    assert len(failure.message) < 400
    assert _check(_deleted(path)) is None


def test_the_longest_names_and_paths_may_land() -> None:
    changes = [_added("n" * 255), _added("d/" * 100 + "f")]
    assert _check(*changes) is None


@pytest.mark.parametrize(
    "path",
    [
        "FANIN.yml",
        "fanin.yml.",
        "fanin.yml::$DATA",
        "fanin\u200c.yml",
        "claude.md",
        "docs/Agents.md",
        ".CLAUDE/settings.json",
        "packages/a/.claude/settings.json",
        ".claude",
        ".claude ./settings.json",
        ".MCP.json",
        ".GitAttributes",
        ".GITHUB/workflows/x.yml",
        ".Hus\u212ay/pre-commit",
        "packages/a/.husky/pre-commit",
        ".Fanin/progress.json",
        ".fanin",
        "FANIN~1.YML",
        "FANIN~1/progress.json",
        "GITHUB~1/workflows/x.yml",
        "GI0AF3~1/workflows/x.yml",
        "packages/a/CLAUD~12/settings.json",
        "packages/a/CLA~1234/settings.json",
        "packages/a/CLAU~123/settings.json",
        "CLAUDE~1/settings.json",
        "MCP~1.JSO",
        "GITATT~2",
        "TASKS.yml",
    ],
    ids=repr,
)
def test_a_protected_name_is_protected_in_every_spelling_and_folder(path: str) -> None:
    failure = check(
        task(),
        [_added(path)],
        protected=PROTECTED,
        never=("/tasks.yml", *Settings().task_rules.never),
        limits=Limits(),
    )
    assert failure is not None
    assert failure.kind is FailureKind.POLICY
    assert "protected path" in failure.message or "fanin's own" in failure.message


@pytest.mark.parametrize(
    "path",
    [
        "src/.gitkeep",
        "GIHUB~1/x",
        "MCP~1.TXT",
        "backup~1.yml",
        "x~",
        "github/x",
        "claude/x.md",
        "fanin.yaml",
        "docs/fanin/a.md",
    ],
)
def test_a_name_that_only_resembles_a_protected_one_lands(path: str) -> None:
    never = Settings().task_rules.never
    failure = check(
        task(), [_added(path)], protected=PROTECTED, never=never, limits=Limits()
    )
    assert failure is None


def test_the_first_line_of_a_refusal_says_a_reason() -> None:
    failure = _check(_added("action.yml"), _added("tasks.yml"), _added("ok"))
    assert failure is not None
    first, *others = failure.message.splitlines()
    assert "action.yml is a protected path" in first
    assert "1 more change may not land" in first
    assert len(others) == 1
    assert others[0].startswith("- tasks.yml is fanin's own file")


def test_a_glob_that_ends_like_no_name_of_windows_protects_no_other_path() -> None:
    globs = ("*.", "*:*", "/end\\ ")
    for path, refused in (("a.", True), ("ok", False), ("a:b", True), ("end", True)):
        failure = check(
            task(), [_added(path)], protected=globs, never=(), limits=Limits()
        )
        assert (failure is not None) == refused, path


@pytest.mark.parametrize(
    ("glob", "path", "lands"),
    [
        ("docs.yml", ".github/workflows/docs.yml", False),
        ("*.yml", ".github/workflows/docs.yml", False),
        ("workflows/", ".github/workflows/docs.yml", False),
        ("settings.json", "packages/a/.claude/settings.json", False),
        ("docs.yml", ".GitHub/workflows/docs.yml", False),
        (".github/workflows/docs.yml", ".github/workflows/docs.yml", True),
        (".github", ".github/workflows/docs.yml", True),
        ("**/docs.yml", ".github/workflows/docs.yml", True),
        ("**", ".github/workflows/docs.yml", True),
        ("CLAUDE.md", "packages/a/CLAUDE.md", True),
        (".gitignore", "packages/a/.gitignore", True),
    ],
)
def test_a_name_in_allow_does_not_reach_into_a_protected_folder(
    glob: str, path: str, lands: bool
) -> None:
    failure = check(
        task(allow=(glob,)),
        [_added(path)],
        protected=PROTECTED,
        never=(),
        limits=Limits(),
    )
    assert (failure is None) is lands
    if failure is not None:
        assert f"{path} is a protected path" in failure.message


@pytest.mark.parametrize("protected", ["infra", "infra/", "/infra/**", "infra/*"])
def test_a_folder_is_protected_in_whatever_way_it_is_written(protected: str) -> None:
    def lands(glob: str) -> bool:
        changes = [_added("infra/main.tf")]
        its_task = task(allow=(glob,))
        return not check(
            its_task, changes, protected=[protected], never=(), limits=Limits()
        )

    assert not lands("main.tf")
    assert lands("infra")
    assert lands("infra/main.tf")


def test_what_a_folder_excludes_is_excluded_from_what_allow_names() -> None:
    allow = (".github", "!secret.yml")
    paths = [".github/a.yml", ".github/secret.yml"]
    failure = check(
        task(allow=allow),
        [_added(path) for path in paths],
        protected=PROTECTED,
        never=(),
        limits=Limits(),
    )
    assert failure is not None
    assert failure.message.startswith(".github/secret.yml is a protected path")


def test_paths_beyond_the_limit_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matched: list[object] = []
    real = globs.matches

    def matches(patterns: Sequence[str], path: str) -> bool:
        matched.append(path)
        return real(patterns, path)

    monkeypatch.setattr(globs, "matches", matches)
    changes = [_added(f"docs/{number}") for number in range(5_000)]
    failure = _check(*changes, limits=Limits(files=10))
    assert failure is not None
    assert "5000 files changed, more than limits.files = 10" in failure.message
    assert len(matched) < 200


def _left_out(
    *changes: Change, faults: dict[str, Fault | None] | None = None, **fields: Any
) -> list[str]:
    refusals = left_out(
        task(**fields),
        changes,
        protected=PROTECTED,
        never=("/tasks.yml", *Settings().task_rules.never),
        limits=Limits(files=5),
        faults=faults or {},
    )
    return [refusal.path for refusal in refusals]


@pytest.mark.parametrize(
    ("path", "is_left_out"),
    [
        ("CLAUDE.md", True),
        ("docs/agents.md", True),
        (".claude/settings.local.json", True),
        (".aider.chat.history.md", True),
        (".cursor/rules/x.mdc", True),
        (".github/workflows/ci.yml", False),
        (".gitmodules", False),
        ("CODEOWNERS", False),
        (".husky/pre-commit", False),
        (".mcp.json", False),
        ("fanin.yml", False),
        ("tasks.yml", False),
    ],
)
def test_what_an_agent_writes_beside_its_task_is_left_out(
    path: str, is_left_out: bool
) -> None:
    beside = [_added("src/a.py"), _added(path)]
    assert _left_out(*beside) == ([path] if is_left_out else [])
    # Alone it is refused: nothing would be left.
    assert _left_out(_added(path)) == []
    # So are more changes than a task may make.
    assert _left_out(*beside, *map(_added, "bcde")) == []


def test_what_the_task_is_about_is_not_left_out() -> None:
    changes = [_added("a"), _edited("CLAUDE.md")]
    assert _left_out(*changes) == ["CLAUDE.md"]
    assert _left_out(*changes, files=("*.md",)) == ["CLAUDE.md"]
    assert _left_out(*changes, files=("CLAUDE.md", "a")) == []
    assert _left_out(*changes, prompt="Shorten CLAUDE.md.") == []
    assert _left_out(*changes, title="Shorten CLAUDE.md") == []
    assert _left_out(*changes, allow=("CLAUDE.md",)) == []
    settings = [_added("a"), _edited(".claude/settings.json")]
    assert _left_out(*settings, prompt="Add a hook to .claude.") == []
    submodule = _added("CLAUDE.md", mode=GITLINK)
    assert _left_out(_added("a"), submodule) == []
    # The file cannot come back where a folder is now.
    folder = [_deleted("AGENTS.md"), _added("x"), _added("AGENTS.md/CODEOWNERS")]
    assert _left_out(*folder) == ["AGENTS.md", "AGENTS.md/CODEOWNERS"]
    folder = [_deleted("a/.gitignore"), _added("a/.gitignore/x"), _added("x")]
    fault = Fault("no longer ignores 'x'")
    assert _left_out(*folder, faults={"a/.gitignore": fault}) == []


def test_a_git_file_lands_is_left_out_or_refuses_the_rest() -> None:
    path = "src/.gitignore"
    changes = [_added("a"), _added(path)]
    rules: dict[str, Any] = {"never": (), "limits": Limits()}
    assert _left_out(*changes, faults={path: None}) == []
    harmless = check(task(), changes, protected=PROTECTED, harmless={path}, **rules)
    assert harmless is None
    fault = Fault("stops ignoring '.env'")
    assert _left_out(*changes, faults={path: fault}) == [path]
    assert _left_out(*changes, faults={path: Fault("x", needed=True)}) == []
    # A list that names the file means it, and so does no wildcard.
    for name, refused in (
        ("/src/.gitignore", True),
        (".gitignore", True),
        (".g*", False),
    ):
        failure = check(task(), changes, protected=(name,), harmless={path}, **rules)
        assert (failure is not None) == refused
    outside = check(
        task(files=("a",)), changes, protected=PROTECTED, harmless={path}, **rules
    )
    assert outside is not None
    assert outside.kind is FailureKind.SCOPE


def test_a_task_about_a_gitignore_is_not_skipped() -> None:
    assert not only_protected(task(files=(".gitignore",)), PROTECTED, ())
    assert only_protected(task(files=(".gitignore",)), (".gitignore",), ())
    assert only_protected(task(files=(".gitmodules",)), PROTECTED, ())
