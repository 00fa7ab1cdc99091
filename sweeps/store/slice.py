"""The share of one job of an array in the blocks of a sweep."""

from __future__ import annotations

from dataclasses import dataclass

from fastlin.errors import InputError
from fastlin.validation import check_int, shown

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
        check_int(f"slice is {self}: N", self.of, 1, MAX_SLICES)
        check_int(f"slice is {self}: I", self.number, 1, self.of)

    @classmethod
    def read(cls, text: str) -> Slice:
        """Read a slice from the text I/N."""
        parts = text.split("/") if isinstance(text, str) else []
        if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
            raise InputError(f"slice is {shown(text)}; needed is the text I/N with I from 1 to N")
        return cls(int(parts[0]), int(parts[1]))

    def __str__(self) -> str:
        """Return it in the form that `read` takes."""
        return f"{self.number}/{self.of}"
