"""The address of a job's page from the address of the remote."""

from __future__ import annotations

import pytest

from runner.local.github_pages import job_page, job_url


@pytest.mark.parametrize(
    "remote",
    [
        "https://github.com/a/b.git",
        "https://user:key@github.com/a/b",
        "git@github.com:a/b.git",
        "ssh://git@github.com:22/a/b.git",
    ],
)
def test_the_page_is_that_of_the_remotes_repository(remote: str) -> None:
    assert job_page(remote, "7/8") == "https://github.com/a/b/actions/runs/7/job/8"


@pytest.mark.parametrize("remote", [None, "/srv/b.git", "https://github.com/a"])
def test_without_a_host_the_ids_are_named(remote: str | None) -> None:
    assert job_page(remote, "7/8") == "run 7, job 8"
    assert job_url(remote, "7/8") is None
