"""How a sweep is run; none of it changes a number."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastlin.sweeps.store.slice import Slice
from fastlin.validation import check_float


@dataclass(frozen=True)
class RunOptions:
    """How a sweep is run; none of it changes a number.

    Attributes
    ----------
    resume : bool
        False refuses a store that is there already.
    retry_failed : bool
        Whether points that diverged or failed are computed again.
    allow_version : bool
        Whether a store that other versions made may be gone on with, if they give the same numbers.
    durable : bool
        Whether all that is written is synced to disk.
    slice : Slice, optional
        Which blocks are this run's; by default all.
    timeout : float, optional
        Seconds after which a block counts as hung; by default by the plan's estimate.
    """

    resume: bool = True
    retry_failed: bool = False
    allow_version: bool = False
    durable: bool = False
    slice: Slice | None = None
    timeout: float | None = None
    only: frozenset[int] | None = field(default=None, repr=False)  # numbers of blocks; of `repair`

    def __post_init__(self) -> None:
        if self.timeout is not None:
            check_float("timeout", self.timeout, 0.0, above=True)
