"""The setting `sandbox`: which walls stand around what agents run, and their doors."""

import posixpath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from runner.core.documents import UserDocument

Mode = Literal["auto", "require", "off"]
# YAML 1.1 reads these words as booleans.
_MODES: dict[object, str] = {True: "auto", False: "off"}
_NETWORK: dict[object, str] = {True: "on", False: "off"}


class SandboxSettings(UserDocument):
    """The walls around agents, `setup` and `verify`.

    - `mode`: `auto` puts up those that the machine can, `require` refuses to run without
      them, `off` puts up none.
    - `write`, `read`, `hide`: paths to open for writing or reading, and to close:
      absolute, below `~/`, or relative to the repository.
    - `sockets`: what may be reached beside the network.
    - `network`: `on`, `off`, or the names of the hosts that are meant, which no
      mechanism here can hold.
    """

    mode: Mode = "auto"
    write: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    sockets: tuple[Literal["docker", "ssh-agent"], ...] = ()
    network: Literal["on", "off"] | Annotated[tuple[str, ...], Field(min_length=1)] = (
        "on"
    )

    @model_validator(mode="before")
    @classmethod
    def _expand_short_form(cls, value: object) -> object:
        if isinstance(value, bool):
            value = _MODES[value]
        return {"mode": value} if isinstance(value, str) else value

    @field_validator("mode", mode="before")
    @classmethod
    def _read_boolean_mode(cls, value: object) -> object:
        return _MODES[value] if isinstance(value, bool) else value

    @field_validator("network", mode="before")
    @classmethod
    def _read_boolean_network(cls, value: object) -> object:
        if isinstance(value, bool):
            return _NETWORK[value]
        if isinstance(value, str) and value not in _NETWORK.values():
            raise ValueError(f"expected on, off or a list of hosts, got {value!r}")
        return value

    @field_validator("write", "read", "hide")
    @classmethod
    def _refuse_unclear_paths(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            plain = posixpath.normpath(path) if path else ""
            is_clear = plain not in {"", "."} and not plain.startswith("..")
            if not is_clear or (plain.startswith("~") and plain[1:2] not in {"", "/"}):
                raise ValueError(
                    f"{path!r} is not a path to open or close; write an absolute path, "
                    "one below ~/, or one in the repository"
                )
        return tuple(posixpath.normpath(path) for path in paths)
