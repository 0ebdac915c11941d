"""The limits of a task's change and of a run, as settings and manifests have them."""

from typing import Annotated

from pydantic import Field

from runner.core.documents import Size, UserDocument


class Limits(UserDocument):
    """Limits of a task's change (`files`, `size` in bytes) and of a run."""

    files: Annotated[int, Field(ge=1)] = 100
    size: Size = 4 * 2**20
    max_cost_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    max_rounds: Annotated[int, Field(ge=1)] = 100


# Of work that a person answers for.
NO_LIMITS = Limits.model_construct(files=10**9, size=2**62)
