"""How a sweep is run. None of it changes a number."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastlin.sweeps.store.slice import Slice
from fastlin.validation import check_bool, check_float


@dataclass(frozen=True)
class RunOptions:
    """How a sweep is run. None of it changes a number.

    Attributes
    ----------
    resume : bool
        False refuses a store that exists already.
    retry_failed : bool
        Whether points that diverged, failed or are too stiff are computed again.
    allow_version : bool
        Whether to continue a store that other versions made, if these compute the same numbers.
    durable : bool
        Whether everything that is written is synced to disk.
    slice : Slice, optional
        The blocks of this run; by default all.
    timeout : float, optional
        Seconds after which a block counts as hung; by default from the estimate of the plan.
    """

    resume: bool = True
    retry_failed: bool = False
    allow_version: bool = False
    durable: bool = False
    slice: Slice | None = None
    timeout: float | None = None
    only: frozenset[int] | None = field(default=None, repr=False)  # numbers of blocks, for `repair`

    def __post_init__(self) -> None:
        for name in ("resume", "retry_failed", "allow_version", "durable"):
            check_bool(name, getattr(self, name))
        if self.timeout is not None:
            check_float("timeout", self.timeout, 0.0, above=True)
