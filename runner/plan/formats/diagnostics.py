"""What the readers of all formats share: saying what is wrong, words of a status, tasks
from loose values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from runner.core.documents import clean
from runner.core.errors import InvalidInput, Problem
from runner.core.task import Plan, Status, Task, TaskFields
from runner.core.validation import nearest, problems_of

MAX_TASKS = 20_000
MAX_EDGES = 200_000
MAX_GUESSES = 50  # comparing spellings is slow; so many mistakes have one reason


@dataclass
class Diagnostics:
    """What the reader of this plan will be told: problems stop it, notes do not. `at`
    counts lines from 0.
    """

    path: str
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def problem(self, at: int, what: str, remedy: str, path: str | None = None) -> None:
        self.problems.append(Problem(path or self.path, at + 1, what, remedy))

    def note(self, at: int, what: str, path: str | None = None) -> None:
        self.notes.append(f"{path or self.path}:{at + 1}: {what}")

    def remark(self, what: str) -> None:
        """A note on the plan as a whole."""
        self.notes.append(f"{self.path}: {what}")

    def plan(self, source: str, tasks: Sequence[Task]) -> Plan:
        """The plan, unless something stands against it. InvalidInput with every problem
        otherwise.
        """
        if len(tasks) > MAX_TASKS:
            self.problem(
                0, f"{len(tasks)} tasks; at most {MAX_TASKS} are read", "split the plan"
            )
        if sum(len(task.depends_on) for task in tasks) > MAX_EDGES:
            self.problem(0, f"more than {MAX_EDGES} dependencies", "split the plan")
        if self.problems:
            raise InvalidInput(self.problems)
        return Plan(
            path=self.path, source=source, tasks=tuple(tasks), notes=tuple(self.notes)
        )


def changed(path: str, before: str, after: str) -> Mapping[str, str]:
    """The file if it changed, as `write_back` gives it."""
    return {path: after} if after != before else {}


def task(
    talk: Diagnostics, at: int, path: str | None = None, **fields: Any
) -> Task | None:
    """The task of these values; None, and why, if one of them is unusable. `at` counts
    lines from 0.
    """
    own = {
        name: fields.pop(name)
        for name in ("source_status", "skipped")
        if name in fields
    }
    where = path or talk.path
    for name in ("title", "prompt"):
        fields[name] = clean(fields.get(name) or "")
    fields["title"] = " ".join(str(fields["title"]).split())
    try:
        checked = TaskFields.model_validate(fields)
    except ValidationError as error:
        found = problems_of(error, where, lambda _: at + 1, TaskFields)
        named = str(clean(str(fields.get("id") or "a task")))[:40]
        talk.problems += [
            Problem(p.path, p.line, f"{named}: {p.what}", p.remedy) for p in found
        ]
        return None
    return Task.model_construct(**checked.__dict__, **own, line=at + 1, path=path or "")


@dataclass(frozen=True)
class Word:
    """What a format's word for a status means to fanin. A skipped task satisfies
    nobody.
    """

    status: Status
    skipped: bool = False


PENDING, IN_PROGRESS = Word(Status.PENDING), Word(Status.IN_PROGRESS)
COMPLETED, SKIPPED = Word(Status.COMPLETED), Word(Status.PENDING, skipped=True)


def folded(word: str) -> str:
    """A status word so that `In-Progress`, `in_progress` and `In Progress` are one."""
    return re.sub(
        r"[\s_-]+", "-", word.strip().strip("\"'").replace("’", "'").casefold()
    )


def status_word(
    talk: Diagnostics,
    at: int,
    word: str,
    known: Mapping[str, Word],
    path: str | None = None,
) -> Word:
    """What the word means; a problem with the nearest known word if nobody knows it."""
    if (found := known.get(folded(word))) is not None:
        return found
    guess = nearest(folded(word), known) if len(talk.problems) < MAX_GUESSES else None
    remedy = f"did you mean {guess!r}?" if guess else f"known words: {', '.join(known)}"
    talk.problem(at, f"{word!r} is not a status", remedy, path)
    return PENDING


def target_word(current: Word, wanted: Status, *, done: str, todo: str) -> str | None:
    """The word to write for a task that now stands as `wanted`; None if the one that is
    there may stay.

    Failed and in progress are the progress file's to know: only completed and not
    completed are told apart.
    """
    if (current.status is Status.COMPLETED) == (wanted is Status.COMPLETED):
        return None
    return done if wanted is Status.COMPLETED else todo


def sections(parts: Iterable[tuple[str, str | None]]) -> str:
    """A prompt of the parts that say something; a part without a heading goes as it is."""
    said = (
        (heading, str(text).strip())
        for heading, text in parts
        if text and str(text).strip()
    )
    return "\n\n".join(
        f"## {heading}\n\n{text}" if heading else text for heading, text in said
    )
