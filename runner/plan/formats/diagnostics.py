"""Helpers of all formats: reporting problems, status words, building tasks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import ValidationError

from runner.core.documents import clean
from runner.core.errors import InvalidInput, Problem
from runner.core.task import LeftOut, Plan, Reference, Status, Task, TaskFields
from runner.core.validation import nearest, problems_of

# Every format is read in one pass, so these bound memory and not time.
MAX_TASKS = 100_000
MAX_EDGES = 500_000
# Comparing spellings is slow, and that many mistakes have one common cause.
MAX_GUESSES = 50
LEFT_OUT = "left out, see fanin check"  # why such a task is skipped
MAX_QUOTED = 60  # characters of a line that a message quotes
MAX_NAME = 40  # characters of a task's id that a message quotes


class Diagnostics:
    """Collects what a format reports: problems refuse the plan, notes do not.

    A record that is left out does not refuse it either, unless there are many; see
    `left_out`.

    `plan_path` is the file or folder that the settings name. `file` is the file that
    problems and notes are about unless they name another; it equals `plan_path` unless
    the plan is a folder. Line indices count from 0, printed line numbers from 1.
    """

    def __init__(self, plan_path: str, file: str = "") -> None:
        self.plan_path = plan_path
        self.file = file or plan_path
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.left_out: list[LeftOut] = []
        self._left_out_ids: set[str] = set()

    def add_problem(
        self, line_index: int, what: str, remedy: str, file: str | None = None
    ) -> None:
        self.problems.append(Problem(file or self.file, line_index + 1, what, remedy))

    def add_note(self, line_index: int, what: str, file: str | None = None) -> None:
        self.notes.append(f"{file or self.file}:{line_index + 1}: {what}")

    def leave_out(
        self,
        line_index: int,
        what: str,
        remedy: str,
        *,
        task_id: str | None = None,
        file: str | None = None,
    ) -> None:
        """Leave out the record on this line; `task_id` if it becomes a skipped task."""
        problem = Problem(file or self.file, line_index + 1, what, remedy)
        self.leave_out_problem(problem, task_id)

    def leave_out_problem(self, problem: Problem, task_id: str | None = None) -> None:
        """Leave out the record with this problem."""
        # A record with two mistakes is one record.
        if task_id is not None and task_id in self._left_out_ids:
            return
        if task_id is not None:
            self._left_out_ids.add(task_id)
        self.left_out.append(LeftOut(problem, task_id))

    def is_left_out(self, task_id: str) -> bool:
        """Whether the task with this id was left out."""
        return task_id in self._left_out_ids

    def add_plan_note(self, what: str) -> None:
        """Add a note about the plan as a whole."""
        self.notes.append(f"{self.plan_path}: {what}")

    def build_plan(self, source: str, tasks: Sequence[Task]) -> Plan:
        """The plan of these tasks, with the notes. InvalidInput with all problems."""
        self.problems += size_problems(self.plan_path, tasks)
        if self.problems:
            raise InvalidInput(self.problems)
        return Plan(
            path=self.plan_path,
            source=source,
            tasks=tuple(tasks),
            notes=tuple(self.notes),
            left_out=tuple(self.left_out),
        )


def size_problems(path: str, tasks: Sequence[Task]) -> list[Problem]:
    """Why the plan at `path` is too large, if it is."""
    return [*number_problems(path, len(tasks)), *edge_problems(path, tasks)]


def edge_problems(path: str, tasks: Sequence[Task]) -> list[Problem]:
    """Why the plan at `path` has too many dependencies, if it has."""
    if sum(len(task.depends_on) for task in tasks) <= MAX_EDGES:
        return []
    what = f"more than {MAX_EDGES:,} dependencies"
    return [Problem(path, 1, what, "split the plan")]


def number_problems(path: str, number: int) -> list[Problem]:
    """Why the plan at `path` with so many tasks is too large, if it is."""
    if number <= MAX_TASKS:
        return []
    what = f"{number:,} tasks; at most {MAX_TASKS:,} are allowed"
    return [Problem(path, 1, what, "split the plan")]


def refuse_number(path: str, number: int) -> None:
    """Raises InvalidInput for a plan with too many tasks, before they are built."""
    if problems := number_problems(path, number):
        raise InvalidInput(problems)


def leave_out_malformed_task(
    diagnostics: Diagnostics, line_index: int, line: str, example: str
) -> None:
    """Leave out a line that was meant as a task; `example` is how to write one."""
    quoted = line.strip()[:MAX_QUOTED]
    what = f"cannot read this task line: `{quoted}`"
    diagnostics.leave_out(line_index, what, f"write {example}")


def note_hidden_tasks(
    diagnostics: Diagnostics, hidden: Iterable[tuple[int, int, int]]
) -> None:
    """Note the tasks in fences and comments: first line, last line and number of each."""
    for first, last, count in hidden:
        lines = count_of(count, "task line")
        what = f"{lines} up to line {last + 1} in a code fence or comment: not tasks"
        diagnostics.add_note(first, what)


def changed_file(path: str, before: str, after: str) -> Mapping[str, str]:
    """{path: after} if the text changed, else {}: the form `write_back` returns."""
    if after == before:
        return {}
    return {path: after}


def spelling_remedy(word: str, choices: Iterable[str], otherwise: str) -> str:
    """Asks whether the closest choice was meant; `otherwise` if no choice is close."""
    guess = nearest(word, choices)
    return f"did you mean {guess!r}?" if guess else otherwise


def line_numbers(text: str) -> set[int]:
    """The numbers in `12, 15`, counted from 1."""
    return {int(word) for word in re.findall(r"[0-9]{1,9}", text)}


class UniqueIds:
    """Gives each record its own id: the second one called `1.1` is `1.1-2`.

    `names`: those of all records, which no made-up id may take.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._used: set[str] = set()
        self._counts: dict[str, int] = {}

    def next(self, name: str) -> str:
        """An id for the next record with this name."""
        count = self._counts.get(name, 0) + 1
        task_id = name if count == 1 else f"{name}-{count}"
        while task_id in self._used or (count > 1 and task_id in self._names):
            count += 1
            task_id = f"{name}-{count}"
        self._counts[name] = count
        self._used.add(task_id)
        return task_id


# -- Status words --


class StatusWord(NamedTuple):
    """The meaning of a format's status word.

    A skipped task does not run, and no task that depends on it can run.
    """

    status: Status
    skipped: bool = False


PENDING = StatusWord(Status.PENDING)
IN_PROGRESS = StatusWord(Status.IN_PROGRESS)
COMPLETED = StatusWord(Status.COMPLETED)
SKIPPED = StatusWord(Status.PENDING, skipped=True)


# In every format: the work is done and waits for a person, so it neither runs again nor
# satisfies anybody.
REVIEW_WORDS: Mapping[str, StatusWord] = dict.fromkeys(
    [
        "review",
        "in-review",
        "code-review",
        "needs-review",
        "ready-for-review",
        "under-review",
    ],
    SKIPPED,
)


def normalize(word: str) -> str:
    """The spelling that `In-Progress`, `in_progress` and `In Progress` share."""
    # Editors turn the apostrophe of `Won't Do` into a typographic one.
    bare = word.strip().strip("\"'").replace("’", "'")
    return re.sub(r"[\s_-]+", "-", bare.casefold())


def parse_status(
    diagnostics: Diagnostics,
    line_index: int,
    word: str,
    meanings: Mapping[str, StatusWord],
    file: str | None = None,
) -> StatusWord:
    """The meaning of the word; an unknown one is reported with the nearest word."""
    meaning = meanings.get(normalize(word))
    if meaning is not None:
        return meaning
    what, remedy = _unknown_status(diagnostics, word, meanings)
    diagnostics.add_problem(line_index, what, remedy, file)
    return PENDING


def parse_status_or_leave_out(
    diagnostics: Diagnostics,
    line_index: int,
    word: str,
    meanings: Mapping[str, StatusWord],
    task_id: str,
    file: str | None = None,
) -> StatusWord:
    """The meaning of the word; an unknown one leaves the task out, so it is skipped."""
    meaning = meanings.get(normalize(word))
    if meaning is not None:
        return meaning
    what, remedy = _unknown_status(diagnostics, word, meanings)
    what = f"{task_id}: {what}"
    diagnostics.leave_out(line_index, what, remedy, task_id=task_id, file=file)
    return SKIPPED


def _unknown_status(
    diagnostics: Diagnostics, word: str, meanings: Mapping[str, StatusWord]
) -> tuple[str, str]:
    """The problem and its remedy, which names the nearest known word."""
    remedy = f"write one of: {', '.join(meanings)}"
    if len(diagnostics.problems) + len(diagnostics.left_out) < MAX_GUESSES:
        remedy = spelling_remedy(normalize(word), meanings, remedy)
    return f"{word!r} is not a valid status", remedy


def replacement_word(
    current: StatusWord, status: Status, *, done_word: str, open_word: str
) -> str | None:
    """The word to write for a task whose status is now `status`; None to keep its word.

    A plan's mark only distinguishes completed from not completed: failed and in
    progress are recorded in the progress file.
    """
    was_done = current.status is Status.COMPLETED
    is_done = status is Status.COMPLETED
    if was_done == is_done:
        return None
    return done_word if is_done else open_word


# -- Tasks --


def build_task(
    diagnostics: Diagnostics,
    line_index: int,
    *,
    task_id: str,
    title: str,
    prompt: str = "",
    files: tuple[str, ...] | None = None,
    depends_on: Iterable[str] = (),
    priority: int = 0,
    estimate: float | None = None,
    status: StatusWord = PENDING,
    skip_reason: str = "",
    file: str | None = None,
    context: tuple[Reference, ...] = (),
    open_before: Iterable[str] = (),
    blocker: str = "",
) -> Task | None:
    """The task with these values, or None after a problem for each unusable one.

    `files`: globs, None for no limit. `estimate`: seconds. `skip_reason`: the word of
    a skipped task. `file`: the task's file if it is not the one of the diagnostics.
    `context`: documents for the prompt.
    `blocker`: what in the plan it waits for that is no task, such as `line 5`.
    """
    path = file or diagnostics.file
    values = {
        "id": task_id,
        "title": title,
        "prompt": prompt,
        "files": files,
        "depends_on": tuple(dict.fromkeys(depends_on)),
        "priority": priority,
        "estimate": estimate,
    }
    try:
        fields = TaskFields.model_validate(values)
    except ValidationError as error:
        name = clean(task_id or "a task")[:MAX_NAME]
        for problem in problems_of(error, path, lambda _: line_index + 1, TaskFields):
            what = f"{name}: {problem.what}"
            diagnostics.problems.append(problem._replace(what=what))
        return None
    # Not the constructor: the values were just validated.
    return Task.model_construct(
        **fields.__dict__,
        line=line_index + 1,
        path=path if path != diagnostics.plan_path else "",
        source_status=status.status,
        skipped=status.skipped,
        skip_reason=skip_reason if status.skipped else "",
        context=context,
        open_before=tuple(open_before),
        blocker=blocker,
    )


def build_task_or_leave_out(
    diagnostics: Diagnostics,
    line_index: int,
    *,
    task_id: str,
    title: str,
    prompt: str = "",
    depends_on: Iterable[str] = (),
    priority: int = 0,
    estimate: float | None = None,
    status: StatusWord = PENDING,
    skip_reason: str = "",
    file: str | None = None,
    context: tuple[Reference, ...] = (),
) -> Task | None:
    """The task with these values; if one is unusable, it is left out and so skipped.

    None if the id is the unusable one.
    """
    attempt = Diagnostics(diagnostics.plan_path, diagnostics.file)
    task = build_task(
        attempt,
        line_index,
        task_id=task_id,
        title=title,
        prompt=prompt,
        depends_on=depends_on,
        priority=priority,
        estimate=estimate,
        status=status,
        skip_reason=skip_reason,
        file=file,
        context=context,
    )
    if task is not None:
        return task
    problem = attempt.problems[0]
    skipped_task = build_task(
        attempt,
        line_index,
        task_id=task_id,
        title=task_id,
        status=SKIPPED,
        skip_reason=LEFT_OUT,
        file=file,
    )
    left_out_id = None if skipped_task is None else skipped_task.id
    diagnostics.leave_out(
        line_index, problem.what, problem.remedy, task_id=left_out_id, file=file
    )
    return skipped_task


def only_tasks(tasks: Iterable[Task | None]) -> list[Task]:
    """The tasks that could be built."""
    return [task for task in tasks if task is not None]


def join_sections(sections: Iterable[tuple[str, str | None]]) -> str:
    """A prompt of (heading, text) sections without the empty ones.

    A section whose heading is "" is its text alone.
    """
    parts = []
    for heading, text in sections:
        body = (text or "").strip()
        if not body:
            continue
        parts.append(f"## {heading}\n\n{body}" if heading else body)
    return "\n\n".join(parts)


def count_of(number: int, singular: str, plural: str = "") -> str:
    """The number with its noun: `1 task`, `2 tasks`."""
    noun = singular if number == 1 else plural or f"{singular}s"
    return f"{number} {noun}"
