"""The jobs of a round around a repository of the stand-in of GitHub, so that they open
pull requests there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.github.forge import Forge, Repository
from tests.support.jobs import Jobs
from tests.support.project import Project

NAME = "o/r"
# What fanin.yml grants to job `merge`; all other jobs may only read.
WRITING = {"contents": "write", "pull-requests": "write", "actions": "read"}


class ForgeJobs(Jobs):
    """Jobs whose origin and API are those of the forge."""

    def __init__(self, project: Project, folder: Path, forge: Forge) -> None:
        super().__init__(project, folder)
        self.forge = forge
        self.environ = {
            "GITHUB_API_URL": forge.api_url,
            "GITHUB_SERVER_URL": forge.server_url,
            "FANIN_TOKEN": forge.mint(WRITING),
        }

    @property
    def origin(self) -> Path:
        return self.repository.git.path

    @property
    def repository(self) -> Repository:
        return self.forge.repositories[NAME]

    def publish(self) -> None:
        published(self.project, self.forge)

    @property
    def pulls(self) -> list[dict[str, Any]]:
        """The repository's pull requests, the oldest first."""
        return list(self.repository.pulls.values())


def published(project: Project, forge: Forge) -> Repository:
    """The project as a repository of the forge."""
    repository = forge.create(NAME, {"seed": "seed\n"})
    project.git("push", "-qf", str(repository.git.path), "HEAD:refs/heads/main")
    return repository
