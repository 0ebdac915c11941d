"""The parts of files that follow from the rows of `config.settings_table`.

They stand between the lines `BEGIN settings: <part>` and `END settings` of both
action.yml, of the workflows and of docs/settings.md. Everything outside is written by
hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from runner.config.settings_table import SETTINGS, Setting
from runner.core.task import ISSUES_PATH, ISSUES_PROGRESS

# Relative to the root of the repository.
FILES = (
    "action.yml",
    ".github/actions/fanin/action.yml",
    ".github/workflows/fanin.yml",
    ".github/workflows/fanin-issues.yml",
    "docs/settings.md",
)

_PART = re.compile(
    r"^(?P<begin>(?P<indent> *)(?:#|<!--) BEGIN settings: (?P<name>[\w ]+?),.*\n)"
    r"(?:.*\n)*?"
    r"(?P<end> *(?:#|<!--) END settings\b.*\n)",
    re.MULTILINE,
)

_INPUTS = tuple(setting for setting in SETTINGS if setting.on_actions)

# In fanin-issues.yml these come from the job `collect`.
_FROM_COLLECT = {"plan": ISSUES_PATH, "progress": ISSUES_PROGRESS}


def rendered(text: str) -> str:
    """The text of a file with its generated parts as the rows say.

    Raises KeyError if a part is named that does not exist.
    """

    def part(match: re.Match[str]) -> str:
        lines = PARTS[match["name"]]()
        body = "".join(f"{match['indent']}{line}".rstrip() + "\n" for line in lines)
        return match["begin"] + body + match["end"]

    return _PART.sub(part, text)


def _action_inputs() -> Iterable[str]:
    for setting in _INPUTS:
        yield f"{setting.action_input}:"
        yield f"  description: {_single_quoted(setting.input_description)}"
        yield "  required: false"
        yield f"  default: {_single_quoted(setting.action_default)}"


def _workflow_inputs() -> Iterable[str]:
    for setting in _INPUTS:
        yield _workflow_input(setting, setting.input_description)


def _issues_workflow_inputs() -> Iterable[str]:
    for setting in _INPUTS:
        description = setting.input_description
        if setting.name in _FROM_COLLECT:
            default = _FROM_COLLECT[setting.name]
            description = f"{setting.summary} (default: {default})"
        if setting.in_issues_workflow:
            yield _workflow_input(setting, description)


def _workflow_input(setting: Setting, description: str) -> str:
    # All but booleans are strings: a form hands its numbers on as strings, and GitHub
    # starts no job when a called workflow wants a number.
    kind, default = "string", '""'
    if setting.kind == "boolean":
        kind, default = "boolean", setting.action_default or setting.default
    quoted = json.dumps(description, ensure_ascii=False)
    fields = f"type: {kind}, default: {default}, description: {quoted}"
    return f"{setting.action_input}: {{{fields}}}"


def _with() -> Iterable[str]:
    for setting in _INPUTS:
        yield f"{setting.action_input}: {_input(setting)}"


def _issues_with() -> Iterable[str]:
    for setting in _INPUTS:
        if setting.in_issues_workflow and setting.name not in _FROM_COLLECT:
            yield f"{setting.action_input}: {_input(setting)}"


def _environment() -> Iterable[str]:
    for setting in _INPUTS:
        yield f"{setting.variable}: {_input(setting)}"


def _input(setting: Setting) -> str:
    return f"${{{{ inputs.{setting.action_input} }}}}"


def _table() -> Iterable[str]:
    yield ""
    yield "| setting | default | meaning |"
    yield "|---|---|---|"
    for setting in SETTINGS:
        default = setting.no_default
        if setting.default:
            default = f"`{setting.default}`"
        meaning = setting.meaning or _decapitalized(setting.summary)
        yield f"| `{setting.key}` | {default} | {meaning} |"
    yield ""


def _decapitalized(text: str) -> str:
    return text[:1].lower() + text[1:]


def _single_quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


PARTS: dict[str, Callable[[], Iterable[str]]] = {
    "action inputs": _action_inputs,
    "workflow inputs": _workflow_inputs,
    "issues workflow inputs": _issues_workflow_inputs,
    "with": _with,
    "issues with": _issues_with,
    "environment": _environment,
    "table": _table,
}
