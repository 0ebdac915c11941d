"""Requests are kept in their order, whole, until they are removed."""

from __future__ import annotations

from pathlib import Path

from runner.core.task import PlanSettings
from runner.local.request_folder import RequestFolder
from runner.plan.requests import SkipRequest


def request(task_id: str) -> SkipRequest:
    return SkipRequest(
        branch="main", plan=PlanSettings(), progress="p", tasks=(task_id,)
    )


def test_requests_are_read_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    folder = RequestFolder(tmp_path / "fanin" / "requests")
    assert folder.read() == {}
    ids = [folder.add(request(f"T{number}")) for number in range(12)]
    assert list(folder.read().values()) == [request(f"T{n}") for n in range(12)]
    folder.remove(ids[:11])
    assert folder.read() == {ids[11]: request("T11")}
    assert folder.add(request("later")) > ids[11]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    folder = RequestFolder(tmp_path / "fanin" / "requests")
    folder.add(request("T1"))
    newer = folder.folder / "00000002-ab.json"
    newer.write_text('{"kind": "approve", "version": 1}')
    half = folder.folder / ".00000003-ab.json.7-7.tmp"
    half.write_text("{")
    assert list(folder.read().values()) == [request("T1")]
    folder.sweep()
    assert newer.exists()
    assert not half.exists()
