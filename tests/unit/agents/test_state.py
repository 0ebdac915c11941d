"""What an agent may write of the person's home: its own login and sessions."""

from __future__ import annotations

from pathlib import Path

from runner import agents
from runner.agents.base import AttemptFolder
from runner.agents.environment import state_of, steering_of

CLAUDE = agents.presets()["claude"]


def test_an_agent_keeps_its_state_and_does_not_change_what_steers_a_person(
    tmp_path: Path,
) -> None:
    folder = AttemptFolder(tmp_path / "attempt")
    variables = {"HOME": str(tmp_path)}
    state = state_of(CLAUDE, folder, variables)
    assert tmp_path / ".claude" in state
    assert (tmp_path / ".claude").is_dir(), "what is not there cannot be opened"
    steering = steering_of(CLAUDE, folder, variables)
    assert tmp_path / ".claude/settings.json" in steering


def test_what_steers_a_person_is_protected_where_a_variable_has_moved_it(
    tmp_path: Path,
) -> None:
    folder = AttemptFolder(tmp_path / "attempt")
    moved = tmp_path / "moved"
    variables = {"HOME": str(tmp_path / "home"), "CLAUDE_CONFIG_DIR": str(moved)}
    assert moved in state_of(CLAUDE, folder, variables)
    assert moved / "settings.json" in steering_of(CLAUDE, folder, variables)


def test_an_isolated_agent_has_its_home_alone(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path)
    variables = {"HOME": str(folder.home)}
    assert state_of(CLAUDE, folder, variables) == [folder.home]
    assert steering_of(CLAUDE, folder, variables) == []


def test_a_link_that_an_earlier_agent_left_opens_nothing(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path / "attempt")
    variables = {"HOME": str(tmp_path)}
    (tmp_path / ".claude").mkdir()
    for name in (".credentials.json", "settings.json"):
        (tmp_path / ".claude" / name).symlink_to(tmp_path / ".ssh/id")
    opened = (
        *state_of(CLAUDE, folder, variables),
        *steering_of(CLAUDE, folder, variables),
    )
    assert not [path for path in opened if ".ssh" in str(path.resolve())]
