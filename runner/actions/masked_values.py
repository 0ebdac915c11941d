"""The outputs that GitHub would drop because they contain a masked value.

GitHub masks the values of all secrets of a job, however short, and drops every output
of the job that contains one. It says so only in the log of the runner (actions/runner,
`JobExtension.cs`), so a later job would see an empty output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner.policy.redaction import forms

if TYPE_CHECKING:
    from runner.actions.workflow_io import JobIO


@dataclass(frozen=True)
class MaskedValues:
    """Values that GitHub masks in this job: value → the name of its variable."""

    names: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, environ: Mapping[str, str], variables: Iterable[str]) -> MaskedValues:
        """The values of these variables, and each line of those that have several."""
        names = {}
        for name in variables:
            value = environ.get(name, "")
            for text in (value, *value.splitlines()):
                if text.strip():
                    names[text.strip()] = name
        return cls(names)

    def __or__(self, other: MaskedValues) -> MaskedValues:
        return MaskedValues({**self.names, **other.names})

    def find(self, text: str) -> str | None:
        """The name of the variable whose value the text contains; None for none."""
        data = text.encode("utf-8", "surrogateescape")
        for value, name in self.names.items():
            plain = value.encode("utf-8", "surrogateescape")
            if any(form in data for form in (plain, *forms(value))):
                return name
        return None


NONE = MaskedValues()


def set_outputs(values: Mapping[str, str], job_io: JobIO, masked: MaskedValues) -> bool:
    """Set outputs of job `merge`; those that GitHub would drop are empty.

    Returns whether another round can start: not without `branch` and `state`.
    """
    can_go_on = True
    allowed = dict(values)
    for name, value in values.items():
        found = masked.find(value)
        if found is None:
            continue
        allowed[name] = ""
        if name in {"branch", "state"}:
            # Without them, another round would start as a new run without limits.
            can_go_on = False
            allowed["again"] = "false"
            job_io.annotate(
                "error",
                f"the output {name} contains the value of {found}, and GitHub "
                "drops such an output: the run ends here",
                title="fanin",
            )
    job_io.output(allowed)
    return can_go_on
