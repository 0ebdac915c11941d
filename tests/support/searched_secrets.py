"""Secrets that tests search for."""

from __future__ import annotations

from runner.policy.redaction import Secrets

KEY = "sk-ant/api03+Zz9?=é"


SECRETS = Secrets({KEY: "KEY"})
