"""Ralph's `prd.json`: the story with the highest priority that does not pass is next.

The loop's prompt (github.com/snarktank/ralph, `prompt.md`) takes one story at a time and
sets `passes` to true when it is done. Priority 1 comes before 2.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from runner.core.task import Plan
from runner.plan.formats import json_stories
from runner.plan.formats.base import Mark, Marker, Options, Tree
from runner.plan.formats.diagnostics import Diagnostics

_FILE = "prd.json"
_ABOUT = ("project", "name", "title", "description", "goal", "overview")
_CONTEXT = ("progress.txt",)


class Ralph:
    """The `ralph` format; see `runner.plan.formats.base.Source`."""

    name = "ralph"
    leaves_out_records = True
    waits_for_left_out = True
    options: Mapping[str, Sequence[str]] = {"order": ("priority", "none")}

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a `prd.json`, a folder with one, and JSON with `userStories`."""
        file = json_stories.plan_file(path, [_FILE], tree)
        text = tree.read(file)
        if text is None or not file.endswith(".json"):
            return False
        if posixpath.basename(file).lower() == _FILE:
            return True
        return '"userStories"' in text and json_stories.has_stories(file, tree)

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan in this file. InvalidInput if it is not JSON."""
        file = json_stories.plan_file(path, [_FILE], tree)
        diagnostics = Diagnostics(path, file)
        document = json_stories.read_document(file, tree)
        branch = document.root.text("branchName")
        if branch:
            what = f"branchName {branch[:100]} is not followed; see the setting branch"
            diagnostics.add_plan_note(what)
        context = json_stories.context_of(document, _ABOUT, _CONTEXT)
        return json_stories.build_plan(
            self.name, document, diagnostics, options, context
        )

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with `passes` of the marked stories changed."""
        return self.marker(path, tree, options).write(marks)

    def marker(self, path: str, tree: Tree, options: Options) -> Marker:
        """See `runner.plan.formats.base.Source`."""
        file = json_stories.plan_file(path, [_FILE], tree)
        return json_stories.StoryMarker(file, tree.read(file) or "")
