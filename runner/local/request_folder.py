"""The folder of requests that wait for a run: one durable file each, in the order in
which they were made.

A command adds a request without the repository's lock, since a run holds that. Only who
holds it removes one, once its changes are durable elsewhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runner.core import durable, file_lock
from runner.core.errors import EnvironmentBroken
from runner.local import lost_state

if TYPE_CHECKING:
    from runner.plan.requests import Request

_LOCK = "lock"
_SUFFIX = ".json"


class RequestFolder:
    """The requests in `folder`, which need not exist. An id is a file's name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, request: Request) -> str:
        """Write the request, durably; its id."""
        data = request.model_dump_json(indent=1).encode()
        with self._locked():
            number = 1
            if names := self._names():
                number += int(names[-1].partition("-")[0])
            request_id = f"{number:08d}-{secrets.token_hex(4)}"
            path = self.folder / f"{request_id}{_SUFFIX}"
            try:
                durable.write(path, data)
                durable.sync_files(durable.folders_above(path, self.folder.parents[1]))
            except OSError as error:
                raise EnvironmentBroken(
                    f"cannot write {path}: {error.strerror}",
                    "free space on the disk or fix the folder's permissions, "
                    "then try again",
                ) from None
        return request_id

    def read(self) -> dict[str, Request]:
        """Id → request, in order. Those of a newer fanin are left for it."""
        requests: dict[str, Request] = {}
        names = self._names()
        if not names:
            return requests
        # Late, as there are none when most commands start.
        from runner.plan.requests import parse_request

        for name in names:
            try:
                data = (self.folder / name).read_bytes()
                requests[name.removesuffix(_SUFFIX)] = parse_request(data)
            except (FileNotFoundError, ValueError):
                continue
        return requests

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read."""
        return not self._names()

    def remove(self, request_ids: Iterable[str]) -> None:
        """Remove requests, durably. Only under the repository's lock."""
        removed = False
        for request_id in request_ids:
            (self.folder / f"{request_id}{_SUFFIX}").unlink(missing_ok=True)
            removed = True
        if removed:
            # Or a power failure could bring back one that the journal has forgotten.
            durable.sync_folder(self.folder)

    def sweep(self) -> None:
        """Remove what a killed command left half-written."""
        if not self.folder.is_dir():
            return
        with self._locked():
            for file in list(self.folder.glob(durable.HALF_WRITTEN)):
                file.unlink(missing_ok=True)

    def _names(self) -> list[str]:
        try:
            paths = list(self.folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise lost_state.unusable(error, self.folder) from None
        names = [path.name for path in paths]
        return sorted(
            name for name in names if name.endswith(_SUFFIX) and name[0].isdigit()
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with file_lock.held(self.folder / _LOCK):
            yield
