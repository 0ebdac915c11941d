"""Every error of a command becomes one sentence and an exit code."""

from __future__ import annotations

import errno
import gc

import pytest

from runner import cli


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (
            OSError(errno.EACCES, "Permission denied", "/x"),
            "cannot use /x: Permission denied",
        ),
        (OSError("it broke"), "it broke"),
    ],
)
def test_an_error_of_the_system_is_told_without_its_number(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: OSError,
    reason: str,
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli.fanin, "main", fail)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == cli.EXIT_ENVIRONMENT
    said = capsys.readouterr().err
    assert said == f"fanin: {reason}; landed work is safe. Fix this and run again\n"
