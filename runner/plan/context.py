"""The context of a task: the documents that its plan was made from, for the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner.core.errors import InvalidInput
from runner.core.task import Reference

if TYPE_CHECKING:  # a job of the matrix uses this module without the formats
    from runner.plan.formats.base import Tree

# Bytes of UTF-8, the names included.
MAX_CONTEXT = 32_000
# Room for the names of the documents; those beyond it are counted.
_MAX_NAMES = 4_000


def read_context(references: Sequence[Reference], tree: Tree | None) -> str:
    """The names of the documents, then their texts; at most MAX_CONTEXT bytes of UTF-8.

    `tree` is the one that the attempt starts from; None gives only the texts that need
    no tree. A document that does not exist is left out. One that does not fit is left
    out as a whole, and the last line names it.
    """
    texts: dict[str, str] = {}
    for reference in references:
        text = _text_of(reference, tree)
        if text is not None:
            texts.setdefault(reference.name, text)
    if not texts:
        return ""
    names = _shortened([f"- {name}" for name in texts])
    parts = ["\n".join(["Read these before you begin:", "", *names])]
    size = len(parts[0].encode())
    # The last line may name all of them.
    limit = MAX_CONTEXT - _MAX_NAMES
    too_large: list[str] = []
    for name, text in texts.items():
        body = text.strip()
        if not body:
            continue
        part = f"----- {name} -----\n\n{body}"
        part_size = len(part.encode()) + 2
        if size + part_size > limit:
            too_large.append(name)
            continue
        parts.append(part)
        size += part_size
    if too_large:
        names = _shortened(too_large)
        parts.append(f"(cut here: the text of {', '.join(names)} did not fit)")
    return "\n\n".join(parts)


def _text_of(reference: Reference, tree: Tree | None) -> str | None:
    """The text of the document; None if it cannot be read."""
    if reference.text is not None or tree is None:
        return reference.text
    try:
        return tree.read(reference.name)
    except InvalidInput:
        # A picture or a huge file is nothing to quote.
        return None


def _shortened(names: Sequence[str]) -> list[str]:
    """As many of the names as fit into _MAX_NAMES bytes, and the number of the others."""
    shown: list[str] = []
    size = 0
    for name in names:
        size += len(name.encode()) + 2
        # The number of the others needs room, too.
        if size > _MAX_NAMES // 2:
            shown.append(f"and {len(names) - len(shown)} more")
            break
        shown.append(name)
    return shown
