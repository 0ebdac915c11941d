"""Of an answer of any length the end is kept, on the disk, in the log and for the preset."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path

import pytest

from runner import agents
from runner.agents import outcome, process, recorder
from runner.agents.base import AttemptFolder
from runner.agents.process import EndReason, Outcome
from runner.policy.redaction import Secrets

MIB = 2**20
LIMIT = MIB
PRINT = """
import sys
for _ in range(20):
    sys.stdout.write("x" * (2**20 - 1) + "\\n")
sys.stdout.write('{"type": "result", "result": "done"}\\n')
"""


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (recorder, outcome):
        monkeypatch.setattr(module, "STDOUT_LIMIT", LIMIT)
    monkeypatch.setattr(recorder, "_FREED_AT_ONCE", MIB // 4)
    monkeypatch.setattr(recorder, "LOG_LIMIT", MIB)


def run(folder: Path) -> Outcome:
    return process.run(
        [sys.executable, "-c", PRINT],
        cwd=folder,
        env=process.environment(os.environ, (), {}),
        stdin=None,
        log=folder / "log",
        timeout=60,
        stdout=folder / "stdout",
    )


def test_a_program_that_prints_without_end_is_not_stopped_and_fills_no_disk(
    tmp_path: Path,
) -> None:
    ended = run(tmp_path)
    assert (ended.end_reason, ended.exit_code) == ("exited", 0)
    status = (tmp_path / "stdout").stat()
    assert status.st_size > 20 * MIB
    # Of the file, and of the block that the first kept byte is in.
    assert status.st_blocks * 512 <= LIMIT + MIB // 4 + 64 * 2**10
    verdict = agents.presets()["claude"].read(ended, AttemptFolder(tmp_path))
    assert verdict.failure is None
    assert verdict.usage.summary == "done"
    log = (tmp_path / "log").read_bytes()
    assert len(log) < 2 * MIB
    assert b" bytes left out ...]" in log
    assert log.endswith(b'"result": "done"}\n')


def test_where_a_file_cannot_be_freed_a_program_is_stopped_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "_punch_hole", lambda _file, _length: False)
    monkeypatch.setattr(recorder, "_FLOOD_LIMIT", 4 * MIB)
    monkeypatch.setattr(
        sys.modules[__name__], "PRINT", PRINT + "import time; time.sleep(60)"
    )
    assert run(tmp_path).end_reason == "flooded"


def read(
    preset: str, folder: Path, stdout: str, end_reason: EndReason = "exited"
) -> tuple[bool, str | None, int | None]:
    """Whether the preset takes it for a success, the summary and the tokens."""
    (folder / "stdout").write_text(stdout)
    ended = Outcome(0, end_reason, 1.0, stdout[-1000:], datetime.now().astimezone())
    verdict = agents.presets()[preset].read(ended, AttemptFolder(folder))
    return verdict.failure is None, verdict.usage.summary, verdict.usage.tokens


def test_the_end_of_a_cut_answer_counts(tmp_path: Path) -> None:
    line = json.dumps({"type": "item.completed", "text": "x" * 1000}) + "\n"
    end = {"type": "turn.completed", "usage": {"input_tokens": 3, "output_tokens": 4}}
    stdout = line * (2 * LIMIT // len(line)) + json.dumps(end)
    assert read("codex", tmp_path, stdout) == (True, None, 7)


def test_one_object_whose_beginning_is_cut_is_a_success_without_words(
    tmp_path: Path,
) -> None:
    stats = {"models": {"m": {"tokens": {"total": 7}}}}
    answer = json.dumps({"response": "x" * 2 * LIMIT, "stats": stats}, indent=2)
    assert read("gemini", tmp_path, answer) == (True, None, 7)
    # one that the program left unfinished is none
    assert read("gemini", tmp_path, answer[:-30])[0] is False
    assert read("gemini", tmp_path, '{"stats": {}}')[0] is False


def test_a_key_that_is_torn_where_output_is_left_out_is_in_no_log(
    tmp_path: Path,
) -> None:
    key = b"sk-ant-api03-Zz9xYw8vUt7s"
    printed = b"x" * (MIB // 2) + b"\n" + key + b" " + key + b"\n"
    printed += b"y" * (LIMIT - len(key) - 10) + b"\nlast line\n"
    (tmp_path / "stdout").write_bytes(printed)
    reader, writer = os.pipe()
    os.close(writer)
    with (
        (tmp_path / "log").open("wb", buffering=0) as log,
        (tmp_path / "stdout").open("r+b") as stdout,
        os.fdopen(reader, "rb") as pipe,
    ):
        copied = recorder.Recorder(
            log, pipe, stdout, None, None, Secrets({key.decode(): "KEY"})
        )
        while copied.pump(0):
            pass
        copied.finish()
    logged = (tmp_path / "log").read_bytes()
    # What was kept of standard output begins in the middle of a key.
    assert key[10:] in printed[-LIMIT:].partition(b"\n")[0]
    assert key[10:] not in logged
    assert b"last line\n" in logged
