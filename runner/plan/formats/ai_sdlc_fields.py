"""The values of ai-sdlc's `Files` and `Dependencies` fields; prose is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence

from runner.policy.globs import invalid, too_many
from runner.policy.paths import shortened

MAX_RANGE = 1000  # tasks

_IDS = re.compile(
    r"T(?P<first>[0-9]{1,9})"
    r"(?:\s*(?:-|–|—|\.\.|to|through)\s*T?(?P<last>[0-9]{1,9}))?",
    re.IGNORECASE,
)
MENTION = re.compile(r"\bT[0-9]{1,9}(?:\s?[-–—]\s?T?[0-9]{1,9})?\b", re.IGNORECASE)
_REMARK = re.compile(r"\s*\([^()]*\)")
# In `Files`, a parenthesis inside a path is a route group (`app/(auth)/x.ts`); only a
# free-standing one is a remark.
_FILE_REMARK = re.compile(r"(?:^|\s+)\([^()]*\)(?=[\s,;.]|$)")
_CODE = re.compile(r"`([^`]+)`")
_NOTHING = re.compile(r"(?:none|n/?a|-|–|—)(?: needed| required)?\.?", re.IGNORECASE)
_FIRST_CLAUSE_END = re.compile(r"\s+[-–—]\s+|[,;]")
_FILE_SEPARATOR = re.compile(r"[,;]|\s(?:and|or|&)\s")
_DEPENDENCY_SEPARATOR = re.compile(r"[,;]|(?:^|\s+)(?:and|&)\s+")
# Words that real plans write in place of a path.
_NOT_PATHS = frozenset(
    {
        "all",
        "any",
        "everything",
        "multiple",
        "several",
        "tbd",
        "tba",
        "unknown",
        "various",
    }
)
# Stand-ins for a comma and a blank inside backticks; no plan contains them.
_COMMA, _BLANK = "\0", "\1"


class ProseError(Exception):
    """A value that fanin does not guess at: `what` is wrong, and the `remedy`."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


# -- Files --


def parse_files(value: str) -> list[str]:
    """Globs from the text after `Files:`; [] for `None` and `N/A`.

    Raises ProseError, which names the first part that is not a path.
    """
    text = _FILE_REMARK.sub("", value).strip().strip(",").strip()
    if _means_no_files(text):
        return []
    paths: list[str] = []
    for part in _split_paths(text):
        in_backticks = _CODE.findall(part)
        if in_backticks:
            paths += in_backticks
        elif _is_path(part):
            paths.append(part)
        else:
            remedy = "write paths or globs such as `src/**`, or `None`"
            raise ProseError(f"`{part}` is not a path", remedy)
    globs = [_as_glob(path) for path in paths]
    _refuse_unusable(globs)
    return globs


def _refuse_unusable(globs: Sequence[str]) -> None:
    """Raise ProseError if some text in the place of a path would match no path."""
    if reason := too_many(globs):
        raise ProseError(reason, "name folders instead of their files")
    for glob in globs:
        if reason := invalid(glob):
            raise ProseError(f"`{shortened(glob)}`: {reason}", "correct the path")


def _means_no_files(text: str) -> bool:
    """True for `None`, also with a remark as in `None - verification only`."""
    first_clause = _FIRST_CLAUSE_END.split(text)[0]
    return bool(_NOTHING.fullmatch(first_clause)) and "`" not in text


def _split_paths(text: str) -> list[str]:
    """Split at commas, `and` and `or`, except inside backticks.

    A path may contain a comma or a blank.
    """
    shielded = _CODE.sub(
        lambda code: code[0].replace(",", _COMMA).replace(" ", _BLANK), text
    )
    parts = []
    for shielded_part in _FILE_SEPARATOR.split(shielded):
        part = shielded_part.replace(_COMMA, ",").replace(_BLANK, " ").strip()
        if part:
            parts.append(part)
    return parts


def _is_path(part: str) -> bool:
    if re.search(r"\s", part) or _NOTHING.fullmatch(part):
        return False
    return part.lower() not in _NOT_PATHS


def _as_glob(path: str) -> str:
    """The gitignore pattern that matches this path.

    S-0044 lists paths. As a pattern, `./x` would match nothing and `[id]` one letter.
    """
    path = path.strip().removeprefix("./")
    return path.replace("\\[", "[").replace("[", "\\[")


# -- Dependencies --


def parse_dependencies(value: str) -> list[str]:
    """Task ids from the text after `Dependencies:`, ranges expanded; [] for `none`.

    Raises ProseError for anything else: a value that was half understood would start
    the task too early. For the same reason an id in a remark must also be in the list.
    """
    parts = _split_dependencies(value)
    task_ids: list[str] = []
    means_none = len(parts) == 1 and _NOTHING.fullmatch(parts[0])
    if not means_none:
        for part in parts:
            task_ids += _expand(part, value)
    for mention in MENTION.findall(value):
        for task_id in _expand(mention, value):
            if task_id not in task_ids:
                what = f"`Dependencies: {value}` names {task_id} only in a remark"
                raise ProseError(what, _list_every_id(value))
    return task_ids


def _split_dependencies(value: str) -> list[str]:
    bare = re.sub(r"[`*]", "", _without_remarks(value))
    parts = _DEPENDENCY_SEPARATOR.split(bare)
    return [part.strip().rstrip(".") for part in parts if part.strip()]


def _without_remarks(value: str) -> str:
    """The value without remarks in parentheses, nested ones included.

    An unbalanced parenthesis stays, so that the value is refused.
    """
    shorter = _REMARK.sub("", value)
    while shorter != value:
        value, shorter = shorter, _REMARK.sub("", shorter)
    return value.strip()


def _expand(part: str, value: str) -> list[str]:
    """`T3` → T3; `T1-T3`, `T1-3`, `T1–T3` and `T1 to T3` → T1, T2, T3."""
    match = _IDS.fullmatch(part)
    if not match:
        raise ProseError(_unreadable(part, value), _list_every_id(value))
    first_digits = match["first"]
    last_digits = match["last"] or first_digits
    first, last = int(first_digits), int(last_digits)
    if last < first:
        what = f"the range {part} runs backwards"
        raise ProseError(what, f"write T{last_digits}-T{first_digits}")
    if last - first >= MAX_RANGE:
        what = f"the range {part} names more than {MAX_RANGE} tasks"
        raise ProseError(what, "write a shorter range")
    width = len(first_digits) if first_digits.startswith("0") else 0
    return [f"T{number:0{width}}" for number in range(first, last + 1)]


def _unreadable(part: str, value: str) -> str:
    if re.search(r"\bor\b", part):
        return f"`Dependencies: {value}` says `or`, but a task waits for all it names"
    reason = f"`{part}` is not a task id or a range of ids"
    return f"cannot read `Dependencies: {value}`: {reason}"


def _list_every_id(value: str) -> str:
    """The remedy, with the ids that the prose names.

    An author can check a list faster than compose one.
    """
    task_ids = ", ".join(dict.fromkeys(MENTION.findall(value)))
    if task_ids:
        return f"list every id, such as `Dependencies: {task_ids}`"
    return "list every id, such as `Dependencies: T1, T3-T5`, or `none`"
