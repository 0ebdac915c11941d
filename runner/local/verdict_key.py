"""What a verdict of `verify` is about: a tree, and all else that its colour depends on."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping

from runner.attempt import included_files
from runner.attempt.verification import VerifyCommand
from runner.repo.origin import Origin
from runner.sandbox.walls import NO_WALLS, Walls


def key_of(
    tree: str,
    verify: VerifyCommand,
    origin: Origin,
    environ: Mapping[str, str],
    walls: Walls = NO_WALLS,
) -> str:
    """What a verdict is about: the tree and all that its verdict depends on.

    Of ignored files that the checkout gets, size and time of change count. Of the walls,
    which mechanisms stand and what the settings open.
    """
    setup = verify.setup
    included = included_files.look(verify.include, origin, verify.env.values())
    parts = [
        tree,
        verify.command,
        sorted(verify.env.items()),
        [setup.text, setup.secret_names] if setup is not None else None,
        verify.include,
        sorted(included.files.items()),
        [platform.node(), platform.system(), platform.release(), platform.machine()],
        environ.get("PATH", ""),
        walls.identity,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
