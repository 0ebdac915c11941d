"""The commands of fanin as a person types them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def typed(name: str, ids: Sequence[str], *options: str, last: str = "") -> str:
    """The command with the ids of tasks, e.g. `fanin log T1 -f`, as a shell takes it.

    `options` and `last`, which follows the ids, are quoted already.
    """
    words = [shlex.quote(task_id) for task_id in ids]
    if any(task_id.startswith("-") for task_id in ids):
        # It would be taken for an option.
        words = [*options, "--", *words]
    else:
        words += options
    return " ".join(["fanin", name, *words, *([last] if last else [])])
