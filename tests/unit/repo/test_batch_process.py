"""The reader of `git cat-file`: what it answers, and that it answers after a search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.core.errors import GitFailed
from runner.repo.batch_process import _FLUSH, ObjectReader
from runner.repo.command import Git, isolated_git

LARGE = b"0123456789" * 300_000  # more than one piece


@pytest.fixture
def git(tmp_path: Path) -> Git:
    repository = isolated_git(tmp_path)
    repository.run(["init", "-q"])
    return repository


@pytest.fixture
def reader(git: Git) -> Iterator[ObjectReader]:
    reader = ObjectReader(git)
    yield reader
    reader.close()


def blob(git: Git, data: bytes) -> str:
    return git.text(["hash-object", "-w", "--stdin"], stdin=data).strip()


def test_the_process_starts_with_the_first_question(
    git: Git, reader: ObjectReader
) -> None:
    object_id = blob(git, b"one\n")
    assert not reader.is_running
    assert reader.info(object_id) == (object_id, "blob", 4)
    assert reader.is_running


def test_an_object_that_is_missing_has_no_info_and_no_content(
    reader: ObjectReader,
) -> None:
    assert reader.info("1" * 40) is None
    assert reader.content("1" * 40) is None


def test_an_object_that_is_written_later_is_seen(
    git: Git, reader: ObjectReader
) -> None:
    assert reader.info("1" * 40) is None
    assert reader.content(blob(git, b"later")) == ("blob", b"later")


def test_a_search_gets_the_whole_content_and_returns_the_first_match(
    git: Git, reader: ObjectReader
) -> None:
    ids = [blob(git, LARGE), blob(git, b"second\n"), blob(git, b"third\n")]
    seen: list[bytes] = []

    def match(pieces: Iterator[bytes]) -> str | None:
        data = b"".join(pieces)
        seen.append(data)
        return "found" if data == b"second\n" else None

    assert reader.first_match(ids, match) == (ids[1], "found")
    assert seen == [LARGE, b"second\n"]


@pytest.mark.parametrize("pieces_read", [0, 1])
def test_the_reader_answers_after_a_search_that_ended_early(
    git: Git, reader: ObjectReader, pieces_read: int
) -> None:
    ids = [blob(git, LARGE), blob(git, b"second\n")]

    def match(pieces: Iterator[bytes]) -> str:
        for _ in range(pieces_read):
            next(pieces)
        return "found"

    assert reader.first_match(ids, match) == (ids[0], "found")
    assert reader.content(ids[1]) == ("blob", b"second\n")


def test_content_that_a_search_does_not_read_is_passed_over(
    git: Git, reader: ObjectReader
) -> None:
    ids = [blob(git, LARGE), blob(git, b"second\n")]
    kinds: list[bytes] = []

    def match(pieces: Iterator[bytes]) -> None:
        kinds.append(next(pieces)[:6])

    assert reader.first_match(ids, match) is None
    assert kinds == [LARGE[:6], b"second"]
    assert reader.content(ids[1]) == ("blob", b"second\n")


def test_a_search_fails_for_an_object_that_is_missing(
    git: Git, reader: ObjectReader
) -> None:
    with pytest.raises(GitFailed, match=f"{'1' * 40} missing"):
        reader.first_match([blob(git, b"x"), "1" * 40], lambda _: None)


def test_a_name_with_a_line_end_is_refused_and_asks_nothing(
    reader: ObjectReader,
) -> None:
    with pytest.raises(ValueError, match="no line end"):
        reader.info("HEAD\nHEAD")
    assert not reader.is_running


def test_long_names_of_what_is_missing_fill_no_pipe(reader: ObjectReader) -> None:
    """Git repeats such a name: both sides would wait for each other."""
    names = [f"HEAD:{number}/{'deep/' * 600}" for number in range(100)]
    assert reader.infos(names) == [None] * len(names)


def test_git_has_read_all_questions_before_it_answers(git: Git) -> None:
    """Each answer on its own would wake who asks. More fits into no pipe here than what
    git has read.
    """
    answer = b"%s blob 4\n" % blob(git, b"one\n").encode()
    reader = ObjectReader(git._replace(timeout=30))
    questions = f"info {answer.decode()[:40]}\n" * 10_000
    stream = reader._process.send(f"{questions}{_FLUSH}")
    assert stream.read(len(answer) * 10_000) == answer * 10_000
    reader.close()
