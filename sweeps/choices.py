"""How a sweep is run; none of it changes a number."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastlin.errors import InputError, real, whole

MAX_SLICES = 100_000


@dataclass(frozen=True)
class Slice:
    """Every N-th block, from the I-th on: the share of one job of an array of N.

    Attributes
    ----------
    number, of : int
        I, from 1 to N.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        whole("slice", self.of, 1, MAX_SLICES)
        whole("slice", self.number, 1, self.of)

    @classmethod
    def read(cls, text: str) -> Slice:
        """Read I/N."""
        parts = text.split("/")
        if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
            raise InputError(f"slice is {text!r}; needed is I/N with I from 1 to N")
        return cls(int(parts[0]), int(parts[1]))

    def __str__(self) -> str:
        """Return it as it is read."""
        return f"{self.number}/{self.of}"


@dataclass(frozen=True)
class Choices:
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
            real("timeout", self.timeout, 0.0, above=True)
