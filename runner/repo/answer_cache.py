"""Answers about objects, which never change, so that git is not asked twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, cast

from runner.core.patterns import lazy_pattern

T = TypeVar("T")
_FULL_ID = lazy_pattern(r"[0-9a-f]{40}|[0-9a-f]{64}")
# a plan and its progress at two commits, and some trees
_SIZE = 16


def is_full_id(name: str) -> bool:
    """Whether the name is a full object id, which always stands for the same object."""
    return _FULL_ID().fullmatch(name) is not None


class AnswerCache:
    """The last few answers. A question is a kind, an object's name, and further words."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, ...], object] = {}
        self._lock = threading.Lock()

    def get(self, question: tuple[str, ...], ask: Callable[[], T]) -> T:
        """The answer, from `ask` unless the question was asked before.

        A kind of question always has the same type of answer. What is asked about a
        name that can move is asked every time.
        """
        if not is_full_id(question[1]):
            return ask()
        with self._lock:
            if question in self._answers:
                return cast("T", self._answers[question])
        answer = ask()
        self.put(question, answer)
        return answer

    def put(self, question: tuple[str, ...], answer: object) -> None:
        """Record an answer. The oldest one is dropped."""
        if not is_full_id(question[1]):
            return
        with self._lock:
            while len(self._answers) >= _SIZE:
                oldest = next(iter(self._answers))
                self._answers.pop(oldest)
            self._answers[question] = answer
