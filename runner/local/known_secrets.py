"""The values that must neither land nor be shown, as far as this machine knows them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from runner.agents.environment import secrets_of
from runner.attempt import included_files
from runner.core.task import AgentSettings
from runner.policy.redaction import Secrets
from runner.repo.origin import Origin


def known_secrets(
    agents: Iterable[AgentSettings],
    environ: Mapping[str, str],
    setup_env: Sequence[str],
    include: Sequence[str],
    origin: Origin,
    plain: Collection[str],
) -> Secrets:
    """Those of the agents' variables, of `setup_env`, and of the ignored files that each
    checkout gets by the patterns `include`. `plain` are values that are not secret.
    """
    of_variables = secrets_of(agents, environ) | Secrets.of(environ, setup_env)
    return of_variables | included_files.secrets_of(include, origin, plain)
