"""The interface that traced functions use. They are written as vector code, or run on NumPy arrays.

A `Number` is one number of each network: a `Lane` of vector code, or an array (WIDTH,) of NumPy. A `Whole` is
a whole number that is known on compilation (int) or only when the code runs (`Index`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from fastlin.kernels.compiler.values import Flag, Index

Whole = int | Index
Place = Whole | tuple[Whole, ...]
Condition = bool | Flag  # one for all networks


class Mask(Protocol):
    """A condition for each network."""

    def __or__(self, other: Any, /) -> Mask: ...
    def __and__(self, other: Any, /) -> Mask: ...
    def __invert__(self) -> Mask: ...


class Number(Protocol):
    """One number of each network."""

    def __add__(self, other: Any, /) -> Number: ...
    def __radd__(self, other: Any, /) -> Number: ...
    def __sub__(self, other: Any, /) -> Number: ...
    def __rsub__(self, other: Any, /) -> Number: ...
    def __mul__(self, other: Any, /) -> Number: ...
    def __rmul__(self, other: Any, /) -> Number: ...
    def __truediv__(self, other: Any, /) -> Number: ...
    def __rtruediv__(self, other: Any, /) -> Number: ...
    def __neg__(self) -> Number: ...
    def __lt__(self, other: Any, /) -> Mask: ...
    def __le__(self, other: Any, /) -> Mask: ...
    def __gt__(self, other: Any, /) -> Mask: ...
    def __ge__(self, other: Any, /) -> Mask: ...


Operand = Number | float


class Row(Protocol):
    """Numbers that are read by their place."""

    def __getitem__(self, place: Whole, /) -> Number: ...


class Array(Row, Protocol):
    """Numbers that are read and written. The element of an array without dimensions is ``x[()]``."""

    shape: tuple[Whole, ...]

    def __getitem__(self, place: Place, /) -> Number: ...

    def __setitem__(self, place: Place, value: Any, /) -> None: ...

    def fill(self, other: Any, /) -> None:
        """Copy an array with the same number of elements."""


class Variable(Protocol):
    """A number that can be assigned to more than once: ``x.value = fma(y, z, x.value)``."""

    value: Any


class Code(Protocol):
    """Constants, loops, branches and local arrays of a traced function."""

    sizes: Any  # each attribute is a `Whole` or a `Condition`; see `fastlin.kernels.sizes`
    tiles: bool  # whether registers hold the sums of a block of columns for several rows

    def constant(self, value: float, /) -> Number:
        """Return a number for all networks."""

    def whole(self, number: int, /) -> Whole:
        """Return a whole number as a part takes it that is called for several."""

    def real(self, number: Whole, /) -> Operand:
        """Return a whole number as a real one."""

    def loop(self, first: Whole, last: Whole, /) -> Iterable[Whole]:
        """Return a loop over first..last-1."""

    def columns(self, first: Whole, last: Whole, /) -> Iterable[Whole]:
        """Return a loop over hidden directions, which is unrolled where a row fits the registers."""

    def blocks(self, last: Whole, /) -> Iterable[Sequence[Whole]]:
        """Return a loop over the hidden directions before `last`, several at a time if not unrolled.

        The last block may go beyond `last`, but not beyond the width.
        """

    def rows(self, first: Whole, last: Whole, /) -> Iterable[Sequence[Whole]]:
        """Return a loop over rows first..last-1, several at a time where columns are not unrolled."""

    def when(self, mask: Mask, /) -> AbstractContextManager[None]:
        """Skip the body if the mask holds for no network. The body must mask all that it writes."""

    def given(
        self, flag: Condition, then: Callable[[], None], otherwise: Callable[[], None] | None = None, /
    ) -> None:
        """Call one of two functions, by a condition that is the same for all networks."""

    def choose(self, flag: Condition, yes: Any, no: Any, /) -> Any:
        """Return one of two numbers or arrays, by a condition that is the same for all networks."""

    def equal(self, index: Whole, number: Whole, /) -> Condition:
        """Return whether two whole numbers are equal."""

    def below(self, index: Whole, number: Whole, /) -> Condition:
        """Return whether a whole number is less than another."""

    def apart(self, part: Callable[..., None], /, *given: Array | Whole) -> None:
        """Run ``part(code, *given)``, which is compiled once for all its calls.

        Arrays have one dimension, or rows of all columns.
        """

    def mask(self, flag: Condition, /) -> Mask:
        """Return a condition for each network that is the same for all."""

    def variable(self, value: Operand, /) -> Variable:
        """Return a number that can be assigned to more than once, and so outlives a loop."""

    def local(self, *shape: Whole) -> Array:
        """Return an array of numbers that `columns` index."""

    def flushing(self) -> AbstractContextManager[None]:
        """Take numbers below 2^-1022 as 0 in the body, on x86-64."""


@dataclass(frozen=True)
class Access:
    """The access that a part declares to an array of a workspace (see `workspace.part`)."""

    name: str = ""
    reads: bool = True
    writes: bool = True

    def check_read(self) -> None:
        """Raise if the part does not declare to read the array."""
        if not self.reads:
            raise TypeError(f"a part reads {self.name}, which it only declares to write")

    def check_write(self) -> None:
        """Raise if the part does not declare to write the array."""
        if not self.writes:
            raise TypeError(f"a part writes {self.name}, which it only declares to read")


FREE = Access()
