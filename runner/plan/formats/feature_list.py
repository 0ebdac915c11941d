"""`feature_list.json`, the list of a long-running agent: features in order of priority.

Anthropic's harness (github.com/anthropics/claude-quickstarts, `autonomous-coding`) takes
the first feature whose `passes` is false and may change nothing else of the file. Others
write a status word instead.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from runner.core.task import Plan
from runner.plan.formats import json_stories
from runner.plan.formats.base import Mark, Marker, Options, Tree
from runner.plan.formats.diagnostics import Diagnostics

_FILES = ("feature_list.json", "feature-list.json", "features.json")
_ABOUT = ("project", "name", "title", "description", "goal")
_CONTEXT = ("app_spec.txt", "claude-progress.txt", "progress/current.md")


class FeatureList:
    """The `feature-list` format; see `runner.plan.formats.base.Source`."""

    name = "feature-list"
    leaves_out_records = True
    waits_for_left_out = True
    options: Mapping[str, Sequence[str]] = {"order": ("priority", "none")}

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a `feature_list.json`, a folder with one, JSON with `passes`."""
        file = json_stories.plan_file(path, _FILES, tree)
        if not file.endswith(".json") or tree.read(file) is None:
            return False
        if posixpath.basename(file).lower() in _FILES[:2]:
            return True
        return json_stories.has_stories(file, tree)

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan in this file. InvalidInput if it is not JSON."""
        file = json_stories.plan_file(path, _FILES, tree)
        diagnostics = Diagnostics(path, file)
        document = json_stories.read_document(file, tree)
        context = json_stories.context_of(document, _ABOUT, _CONTEXT)
        return json_stories.build_plan(
            self.name, document, diagnostics, options, context
        )

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with the marks of these features changed."""
        return self.marker(path, tree, options).write(marks)

    def marker(self, path: str, tree: Tree, options: Options) -> Marker:
        """See `runner.plan.formats.base.Source`."""
        file = json_stories.plan_file(path, _FILES, tree)
        return json_stories.StoryMarker(file, tree.read(file) or "")
