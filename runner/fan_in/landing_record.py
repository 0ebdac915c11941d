"""The record of what each task of a landing has changed, where the commit alone does not
say it: tasks that changed the same file.

    refs/fanin/landed/<commit>

A commit without parents. Its message has the steps as JSON, its tree holds their trees,
so that git does not collect them.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import ValidationError

from runner.core.documents import Document
from runner.core.result import ObjectId
from runner.fan_in.undo import Landed, Step
from runner.repo.quarantine import Quarantine
from runner.repo.repository import Repository

ROOT = "refs/fanin/landed"
_SUBJECT = "What each task of a landing has changed"


class _Step(Document):
    task: str
    base: ObjectId
    tree: ObjectId


class _Record(Document):
    version: Literal[1] = 1
    before: ObjectId
    after: ObjectId
    steps: tuple[_Step, ...]


def name(commit: str) -> str:
    """The ref of the record of a commit that landed."""
    return f"{ROOT}/{commit}"


def write(quarantine: Quarantine, landed: Landed) -> str:
    """The commit of the record."""
    trees = dict.fromkeys([landed.before, landed.after])
    for step in landed.steps:
        trees |= dict.fromkeys([step.base, step.tree])
    entries = [
        b"40000 %04d\0%s" % (number, bytes.fromhex(tree))
        for number, tree in enumerate(trees)
    ]
    tree = quarantine.objects().write("tree", b"".join(entries))
    steps = tuple(
        _Step(task=step.task, base=step.base, tree=step.tree) for step in landed.steps
    )
    record = _Record(before=landed.before, after=landed.after, steps=steps)
    # In ASCII: an id may hold what a message may not.
    text = record.model_dump_json(ensure_ascii=True)
    return quarantine.commit_tree(tree, [], f"{_SUBJECT}\n\n{text}\n")


def read(repo: Repository, commit: str) -> Landed | None:
    """The record of a commit that landed; None if there is none that can be read."""
    found = repo.refs(name(commit)).get(name(commit))
    if found is None:
        return None
    _, _, text = repo.message(found).partition("\n\n")
    try:
        record = _Record.model_validate_json(text)
    except ValidationError:
        return None
    steps = tuple(Step(step.task, step.base, step.tree) for step in record.steps)
    trees = [record.before, record.after]
    trees += [tree for step in steps for tree in (step.base, step.tree)]
    if not _are_trees(repo, trees):
        return None
    return Landed(record.before, record.after, steps)


def _are_trees(repo: Repository, trees: Sequence[str]) -> bool:
    return all(info is not None and info.kind == "tree" for info in repo.infos(trees))
