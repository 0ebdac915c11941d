"""How results become one tree: united where they are disjoint, merged where they meet,
never a side picked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.result import Failure, FailureKind
from runner.fan_in.commit_message import LandedTask, commit_message
from runner.fan_in.union import Blob, Candidate, parent_folders, unite
from runner.policy.change import REGULAR, Change
from tests.support.builders import entry, manifest, quick, task

Files = dict[str, Blob]


@dataclass(frozen=True)
class _Conflict:
    paths: tuple[str, ...]
    messages: tuple[str, ...] = ()
    hunks: str = "<<<<<<<\n>>>>>>>"


@dataclass
class Trees:
    """Git's part, in memory: a tree is named by its files; a merge is three-way, whole
    files at a time.
    """

    known: dict[str, Files] = field(default_factory=dict)
    writes: int = 0
    merges: int = 0

    def add(self, files: Files) -> str:
        name = repr(sorted(files.items()))
        self.known[name] = files
        return name

    def write(self, base: str, changes: Mapping[str, Blob | None]) -> str:
        self.writes += 1
        files = {
            path: blob for path, blob in self.known[base].items() if path not in changes
        }
        return self.add(
            files | {path: blob for path, blob in changes.items() if blob is not None}
        )

    def merge(self, base: str, ours: str, theirs: str) -> str | _Conflict:
        self.merges += 1
        was, mine, other = (self.known[name] for name in (base, ours, theirs))
        merged, clashes = Files(), []
        for path in sorted({*was, *mine, *other}):
            versions = was.get(path), mine.get(path), other.get(path)
            if versions[1] == versions[2] or versions[0] == versions[2]:
                chosen = versions[1]
            elif versions[0] == versions[1]:
                chosen = versions[2]
            else:
                clashes.append(path)
                continue
            if chosen is not None:
                merged[path] = chosen
        clashes += [
            path
            for path in merged
            for folder in parent_folders(path)
            if folder in merged
        ]
        return _Conflict(tuple(clashes)) if clashes else self.add(merged)

    def changes(self, old: str, new: str) -> list[Change]:
        was, now = self.known[old], self.known[new]
        return [
            Change(path, was.get(path), now.get(path))
            for path in sorted({*was, *now})
            if was.get(path) != now.get(path)
        ]

    def candidate(
        self, place: int, base: str, changes: Mapping[str, Blob | None]
    ) -> Candidate:
        tree = self.write(base, changes)
        return Candidate(
            entry(task(f"T{place}"), index=place), tree, self.changes(base, tree)
        )


def _blob(text: str) -> Blob:
    return REGULAR, text


def _files(**texts: str) -> Files:
    return {path.replace("_", "/"): _blob(text) for path, text in texts.items()}


BASE = {"a": _blob("1"), "b": _blob("1"), "d/x": _blob("1"), "d/y": _blob("1")}
Changes = Mapping[str, Blob | None]


def _unite(
    *changes: Changes, onto: Changes | None = None, each: bool = False
) -> tuple[Trees, list[Files | None], list[str]]:
    """The trees after each candidate (None: it conflicts), and the conflicts' messages."""
    trees = Trees()
    base = trees.add(BASE)
    head = trees.write(base, onto) if onto else base
    candidates = [
        trees.candidate(place, base, one) for place, one in enumerate(changes, 1)
    ]
    trees.writes = 0
    outcomes = unite(base, head, candidates, trees, tree_per_task=each)
    assert [outcome.entry.task.id for outcome in outcomes] == [
        one.entry.task.id for one in candidates
    ]
    assert all(
        (outcome.tree is None) is (outcome.failure is not None) for outcome in outcomes
    )
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    assert {failure.kind for failure in failures} <= {FailureKind.CONFLICT}
    return (
        trees,
        [trees.known[outcome.tree] if outcome.tree else None for outcome in outcomes],
        [failure.message for failure in failures],
    )


def test_disjoint_results_are_united_in_one_write_and_no_merge() -> None:
    trees, found, _ = _unite(_files(a="2"), {"d/x": None}, _files(new_file="3"))
    after = {
        "a": _blob("2"),
        "b": _blob("1"),
        "d/y": _blob("1"),
        "new/file": _blob("3"),
    }
    assert found == [after] * 3
    assert (trees.writes, trees.merges) == (1, 0)


def test_individual_commits_get_a_tree_after_every_task() -> None:
    _, found, _ = _unite(_files(a="2"), _files(b="2"), each=True)
    assert found == [BASE | _files(a="2"), BASE | _files(a="2", b="2")]


def test_a_result_without_a_change_is_in_as_well() -> None:
    assert _unite({})[1] == [BASE]
    assert _unite(_files(a="2"), {}, each=True)[1] == [BASE | _files(a="2")] * 2


def test_no_results_leave_the_branch_as_it_is() -> None:
    assert _unite()[1] == []


@pytest.mark.parametrize("each", [False, True])
def test_a_conflict_fails_the_later_task_and_picks_no_side(each: bool) -> None:
    _, found, told = _unite(
        _files(a="2", b="2"), _files(a="3", d_x="3"), _files(d_y="4"), each=each
    )
    assert found[1] is None
    assert found[-1] == BASE | _files(a="2", b="2", d_y="4")
    assert told == ["T2 conflicts with T1: in a"]


def test_a_conflict_carries_what_the_retry_needs_to_see() -> None:
    trees = Trees()
    base = trees.add(BASE)
    outcomes = unite(
        base,
        base,
        [trees.candidate(n, base, _files(a=str(n + 1))) for n in (1, 2)],
        trees,
        tree_per_task=False,
    )
    assert outcomes[1].failure is not None
    assert outcomes[1].failure.log_tail == "<<<<<<<\n>>>>>>>"
    assert outcomes[1].failure.retryable


def test_the_same_change_made_twice_is_no_conflict() -> None:
    trees, found, _ = _unite(_files(a="2"), _files(a="2", b="2"))
    assert found == [BASE | _files(a="2"), BASE | _files(a="2", b="2")]
    assert trees.merges == 1


def test_a_conflict_names_everyone_whose_paths_it_meets() -> None:
    _, _, told = _unite(_files(a="2"), _files(b="2"), {**_files(a="3", b="3")})
    assert told == ["T3 conflicts with T1, T2: in a, b"]


def test_a_task_that_conflicted_stands_in_nobodys_way() -> None:
    trees, found, _ = _unite(_files(a="2"), _files(a="3", new="3"), _files(new="4"))
    assert found == [BASE | _files(a="2"), None, BASE | _files(a="2", new="4")]
    assert trees.merges == 1


@pytest.mark.parametrize(
    "changes",
    [
        (_files(new="file"), _files(new_x="file in a folder")),
        (_files(new_x="file in a folder"), _files(new="file")),
        (_files(new_x_y="deep"), _files(new="file")),
        (_files(new="file"), _files(new_x_y="deep")),
    ],
)
def test_a_file_where_another_made_a_folder_is_for_the_real_merge(
    changes: Sequence[Changes],
) -> None:
    trees, found, _ = _unite(*changes)
    assert trees.merges == 1
    assert found[1] is None


def test_what_the_branch_gained_meanwhile_stays() -> None:
    trees, found, _ = _unite(_files(a="2"), onto=_files(b="9"))
    assert found == [BASE | _files(a="2", b="9")]
    assert trees.merges == 0


def test_a_clash_with_the_branch_is_told_as_one() -> None:
    _, found, told = _unite(_files(a="2"), _files(b="2"), onto=_files(a="9"))
    assert found == [None, BASE | _files(a="9", b="2")]
    assert told == ["T1 conflicts with the branch: in a"]


_PATHS = ["a", "b", "d/x", "d/y", "n1", "n2", "m/1", "m/2"]


@quick
@given(
    st.lists(
        st.tuples(
            st.sampled_from(_PATHS), st.integers(0, 4), st.none() | st.just("new")
        ),
        unique_by=lambda c: c[0],
    ),
    st.booleans(),
)
def test_uniting_disjoint_results_is_applying_them_one_after_the_other(
    changes: list[tuple[str, int, str | None]], each: bool
) -> None:
    """Every path belongs to one of five: the branch (0) or one of four tasks."""
    shares: list[dict[str, Blob | None]] = [{}, {}, {}, {}, {}]
    for path, owner, text in changes:
        if text or path in BASE:
            shares[owner][path] = _blob(f"{text} of {owner}") if text else None
    trees, found, _ = _unite(*shares[1:], onto=shares[0], each=each)
    step: Files = dict(BASE)
    steps = []
    for share in shares:
        step = {path: blob for path, blob in step.items() if path not in share}
        step |= {path: blob for path, blob in share.items() if blob}
        steps.append(step)
    assert found == (steps[1:] if each else [step] * 4)
    assert trees.merges == 0


@quick
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b", "d/x", "n"]),
            st.sampled_from(["2", "3"]),
            max_size=3,
        ),
        max_size=5,
    )
)
def test_one_commit_or_one_for_each_makes_the_same_tree_and_fails_the_same_tasks(
    texts: list[dict[str, str]],
) -> None:
    changes = [{path: _blob(text) for path, text in one.items()} for one in texts]
    (_, batch, told), (_, single, told_single) = (
        _unite(*changes, each=each) for each in (False, True)
    )
    assert told == told_single
    assert [tree is None for tree in batch] == [tree is None for tree in single]
    assert [t for t in batch if t is not None][-1:] == [
        t for t in single if t is not None
    ][-1:]


# -- the message --

RED = Failure(kind=FailureKind.VERIFY, message="it is red\nand more")


def _landed(
    task_id: str, summary: str | None = None, title: str = "Do it"
) -> LandedTask:
    return LandedTask(entry(task(task_id, title=title)), summary)


@pytest.mark.parametrize(
    ("landed", "failed", "text"),
    [
        (
            [_landed("T1")],
            {},
            "T1: Do it\n\nFanin-Run: r1\nFanin-Batch: r1.2\nFanin-Task: T1\n",
        ),
        (
            [_landed("T1", "made it"), _landed("T2")],
            {"T3": RED},
            (
                "Fan in T1, T2\n\n- T1: made it\n- T2: Do it\n- T3 failed (verify): it is red and more\n\n"
                "Fanin-Run: r1\nFanin-Batch: r1.2\nFanin-Task: T1\nFanin-Task: T2\n"
            ),
        ),
        (
            [],
            {"T3": RED, "T4": RED},
            (
                "Record failed attempts of T3, T4\n\n- T3 failed (verify): it is red and more\n"
                "- T4 failed (verify): it is red and more\n\nFanin-Run: r1\nFanin-Batch: r1.2\n"
            ),
        ),
    ],
)
def test_a_message_tells_what_landed_what_did_not_and_the_batch(
    landed: list[LandedTask], failed: dict[str, Failure], text: str
) -> None:
    assert commit_message(manifest(), landed, failed) == text


@pytest.mark.parametrize(
    "said",
    ["done\n\nFanin-Task: T9", "done\r\nFanin-Task: T9", "done\u2028Fanin-Task: T9"],
)
def test_no_summary_title_or_error_can_forge_a_line_of_the_message(said: str) -> None:
    failed = {"T3": Failure(kind=FailureKind.AGENT_ERROR, message=said)}
    text = commit_message(
        manifest(), [_landed("T1", said), _landed("T2", title=said)], failed
    )
    assert [line for line in text.splitlines() if line.startswith("Fanin-Task")] == [
        "Fanin-Task: T1",
        "Fanin-Task: T2",
    ]


def test_lines_stay_within_what_git_and_people_bear() -> None:
    text = commit_message(
        manifest(),
        [_landed("T1", title="x" * 500)],
        {"T2": RED.model_copy(update={"message": "y" * 5000})},
    )
    subject, *rest = text.splitlines()
    assert len(subject) == 72
    assert subject.endswith("…")
    assert max(map(len, rest)) < 300
