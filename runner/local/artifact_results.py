"""The results in downloaded artifacts of runs on GitHub, each with its batch's manifest.

Machines of agents wrote them: what contradicts itself or is too large is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from runner.core import result_folder
from runner.core.manifest import Manifest
from runner.core.regular_file import open_regular
from runner.core.result_folder import Checks, Reading
from runner.core.run_view import AttemptView

_MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 64 * 2**20
_MAX_DEPTH = 3  # folders
_CHECKS = Checks(are_artifacts=True)


def manifests(root: Path) -> Iterator[Manifest]:
    """The manifests of batches below `root`, but for what an agent's artifact holds."""
    for folder, inner, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        if depth >= _MAX_DEPTH:
            inner.clear()
        inner[:] = [
            name for name in inner if not result_folder.is_named_as_result(name)
        ]
        if _MANIFEST in files:
            data = _read(Path(folder, _MANIFEST), _MAX_MANIFEST_BYTES)
            try:
                yield Manifest.model_validate_json(data)
            except ValidationError:
                continue


def _read(path: Path, limit: int) -> bytes:
    """The file's bytes; none if it is no regular file or larger than `limit`."""
    stream = open_regular(path)
    if stream is None:
        return b""
    with stream:
        data = stream.read(limit + 1)
    return data if len(data) <= limit else b""


class ArtifactResults:
    """Finds the result of an attempt in the artifacts below `roots`.

    `manifests` are those of their batches.
    """

    def __init__(self, roots: Sequence[Path], manifests: Sequence[Manifest]) -> None:
        self._roots = roots
        self._manifests = {manifest.batch: manifest for manifest in manifests}
        # batch → task and attempt → what the artifacts hold of them
        self._readings: dict[str, dict[tuple[str, int], Reading]] = {}

    def __call__(self, attempt: AttemptView) -> tuple[Manifest, Reading] | None:
        """The attempt's result and the manifest of its batch; None if there is none."""
        manifest = self._manifests.get(attempt.batch)
        if manifest is None:
            return None
        if attempt.batch not in self._readings:
            self._readings[attempt.batch] = self._read_batch(manifest)
        reading = self._readings[attempt.batch].get((attempt.task, attempt.attempt))
        return (manifest, reading) if reading is not None else None

    def _read_batch(self, manifest: Manifest) -> dict[tuple[str, int], Reading]:
        found = {}
        for root in self._roots:
            for reading in result_folder.read_batch(root, manifest, _CHECKS):
                if reading.result is not None:
                    found[reading.entry.task.id, reading.entry.attempt] = reading
        return found
