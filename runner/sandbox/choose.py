"""Which mechanism holds a run: one decision, and the sentences about it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from runner.core.errors import EnvironmentBroken, UsageProblem
from runner.core.sandbox import SandboxSettings
from runner.sandbox.machine import NOT_INSTALLED, Machine

# Landlock withholds truncation since this version; before, files that may not be
# written can be emptied.
_OLDEST_LANDLOCK = 3
_INSTALL = "apt install bubblewrap"
_SIGNALS_SINCE, _TCP_SINCE, _SOCKETS_SINCE = 6, 4, 9


class Choice(NamedTuple):
    """The mechanisms of a run.

    bubblewrap: its program, "" without it. landlock: the version to use, 0 without it.
    gaps: what they do not hold.
    reason: why there are no walls although the settings ask for them.
    remedy: what would give more of them.
    """

    bubblewrap: str = ""
    landlock: int = 0
    gaps: tuple[str, ...] = ()
    reason: str = ""
    remedy: str = ""

    @property
    def has_walls(self) -> bool:
        return bool(self.bubblewrap or self.landlock)

    @property
    def sentence(self) -> str:
        """The walls and what they do not hold, for the header of a run."""
        remedy = f"; to have more:  {self.remedy}" if self.remedy else ""
        if not self.has_walls:
            return f"no walls: {self.reason}{remedy}" if self.reason else "no walls"
        names = ["bubblewrap"] if self.bubblewrap else []
        if self.landlock:
            names.append("Landlock")
        text = f"walls: {' and '.join(names)}"
        if self.gaps:
            text = f"{text}, no wall: {', '.join(self.gaps)}"
        return f"{text}{remedy}"


def choose(settings: SandboxSettings, machine: Machine) -> Choice:
    """The mechanisms for these settings. EnvironmentBroken if they require what is not
    there, UsageProblem if no machine has it.
    """
    if settings.mode == "off":
        return Choice()
    if settings.mode == "require" and isinstance(settings.network, tuple):
        raise UsageProblem(
            "sandbox: require: hosts cannot be held: no mechanism here knows the names "
            "of hosts",
            "set  sandbox.network  to  on  or  off , or take the other walls alone:  "
            "--sandbox auto",
        )
    program = str(machine.bubblewrap) if machine.bubblewrap else ""
    version = machine.landlock if machine.landlock >= _OLDEST_LANDLOCK else 0
    remedy = _INSTALL if machine.problem == NOT_INSTALLED else ""
    choice = Choice(program, version, reason=_reason(machine), remedy=remedy)
    if choice.has_walls:
        gaps = _gaps(program, version, settings)
        choice = Choice(program, version, gaps, remedy=remedy)
    if settings.mode == "require" and (choice.gaps or not choice.has_walls):
        _refuse_gaps(choice, machine)
    return choice


def _reason(machine: Machine) -> str:
    if machine.system != "linux":
        return "only Linux has them"
    landlock = "the kernel has no Landlock"
    if machine.landlock:
        landlock = (
            f"Landlock {machine.landlock} is too old ({_OLDEST_LANDLOCK} is needed: "
            "Linux 6.2)"
        )
    return f"{machine.problem}, and {landlock}"


def _gaps(program: str, version: int, settings: SandboxSettings) -> tuple[str, ...]:
    gaps = []
    network = settings.network
    if program:
        if version < _SIGNALS_SINCE and network != "off":
            gaps.append("abstract sockets")
    else:
        if version < _SIGNALS_SINCE:
            gaps.append("signals")
        gaps += ["sockets"] if version < _SOCKETS_SINCE else []
        gaps += ["file modes", "names of files", "terminals"]
        if network == "off":
            gaps.append("network" if version < _TCP_SINCE else "network but TCP")
    if isinstance(network, tuple):
        gaps.append("hosts of the network, all can be reached")
    return tuple(gaps)


def _refuse_gaps(choice: Choice, machine: Machine) -> None:
    """Refuse to run where a wall that is asked for does not stand."""
    reason = choice.reason
    if choice.has_walls:
        lack = machine.problem or f"Landlock {_SIGNALS_SINCE} is needed (Linux 6.12)"
        reason = f"no wall: {', '.join(choice.gaps)}: {lack}"
    advice = "run it elsewhere, or take what walls there are:  --sandbox auto"
    if choice.remedy:
        advice = f"{choice.remedy}; {advice}"
    raise EnvironmentBroken(f"sandbox: require: {reason}", advice)
