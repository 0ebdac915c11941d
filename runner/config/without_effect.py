"""Settings that change nothing, because another one that they need is not set."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from runner.config.settings import Settings
from runner.core.errors import Problem


class _Need(NamedTuple):
    """What another setting must be, as it is written in fanin.yml."""

    text: str
    is_met: Callable[[Settings], bool]


_ROLLING = _Need("schedule: rolling", lambda settings: settings.schedule == "rolling")
_VERIFY = _Need("verify", lambda settings: settings.verify is not None)
_SETUP = _Need("setup", lambda settings: settings.setup is not None)
_WAITING = _Need("on_limit: wait", lambda settings: settings.on_limit == "wait")

_NEEDS = {
    "on_limit_max": (_WAITING,),
    "setup_timeout": (_SETUP,),
    "verify_concurrent": (_VERIFY,),
    "verify_cache": (_VERIFY,),
    "verify_base": (_VERIFY,),
    "start_after": (_ROLLING, _VERIFY),
}


def without_effect(settings: Settings) -> list[Problem]:
    """The settings that are not the default and change nothing on this machine."""
    found = []
    for name, needs in _NEEDS.items():
        if getattr(settings, name) == Settings.model_fields[name].default:
            continue
        missing = [need.text for need in needs if not need.is_met(settings)]
        if not missing:
            continue
        place = settings.place_of(name)
        what = f"{place.prefix or f'{name}: '}no effect without {' and '.join(missing)}"
        remedy = f"set {'it' if len(missing) == 1 else 'them'}, or leave this out"
        found.append(Problem(place.path, place.line, what, remedy))
    return found
