"""A look for entry points may only miss what is not there."""

from __future__ import annotations

import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from runner.core.plugins import may_have_entry_points

GROUP = "fanin.of-this-test"
ENTRY_POINTS = f"[{GROUP}]\nname = module:thing\n"


def install(folder: Path, info: str, text: str = ENTRY_POINTS) -> None:
    (folder / info).mkdir()
    (folder / info / "METADATA").write_text("Name: some\nVersion: 1\n")
    (folder / info / "entry_points.txt").write_text(text)


@pytest.mark.parametrize("info", ["some-1.dist-info", "some.egg-info"])
def test_an_entry_point_of_an_installed_package_is_found(
    info: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, info)
    monkeypatch.syspath_prepend(tmp_path)
    assert may_have_entry_points(GROUP)
    assert [point.name for point in entry_points(group=GROUP)] == ["name"]


def test_there_is_none_if_no_package_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "some-1.dist-info", "[console_scripts]\nsome = module:main\n")
    (tmp_path / "bare-1.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "missing")])
    assert not may_have_entry_points(GROUP)


def test_an_archive_may_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("some-1.dist-info/METADATA", "Name: some\nVersion: 1\n")
        file.writestr("some-1.dist-info/entry_points.txt", ENTRY_POINTS)
    monkeypatch.setattr(sys, "path", [str(archive)])
    assert may_have_entry_points(GROUP)
    assert [point.name for point in entry_points(group=GROUP)] == ["name"]


def test_a_finder_of_its_own_may_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        find_spec = find_distributions = staticmethod(lambda *_, **__: None)

    monkeypatch.setattr(sys, "path", [])
    assert not may_have_entry_points(GROUP)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert may_have_entry_points(GROUP)
