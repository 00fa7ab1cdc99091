"""Traced functions on NumPy arrays, to debug a part, to cover it with tests and to count its operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.compiler.protocols import FREE, Access


class PlainArray:
    """An array (shape, ...) of numbers. A number that was read keeps its value when the array is written."""

    def __init__(self, values: NDArray[Any], shape: tuple[int, ...], access: Access = FREE) -> None:
        self.values, self.shape, self._access = values, shape, access

    def restricted(self, access: Access) -> PlainArray:
        """Return the array for a part that declares this access."""
        return PlainArray(self.values, self.shape, access)

    def __getitem__(self, place: Any) -> Any:
        self._access.check_read()
        return copy(self.values[place])

    def __setitem__(self, place: Any, value: Any) -> None:
        self._access.check_write()
        self.values[place] = value

    def fill(self, other: PlainArray) -> None:
        """Copy an array of as many numbers."""
        self._access.check_write()
        self.values[...] = other.values.reshape(self.values.shape)


class _Local(dict[Any, Any]):
    """Local numbers by their places."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def __setitem__(self, place: Any, value: Any) -> None:
        super().__setitem__(place, copy(value))


class Plain:
    """Stands in for `VectorCode` where a traced function runs on numbers of any kind.

    `make` turns a float into such a number: ``np.float64`` for arrays (WIDTH,) or scalars.
    """

    def __init__(self, make: Callable[[float], Any], sizes: Any = None) -> None:
        self._make, self.sizes, self.tiles = make, sizes, True

    def constant(self, value: float) -> Any:
        """Return a number."""
        return self._make(value)

    def loop(self, first: Any, last: Any) -> range:
        """Return a range."""
        return range(first, last)

    columns = loop

    def blocks(self, last: Any) -> list[list[int]]:
        """Return the hidden directions one by one."""
        return self.rows(0, last)

    def rows(self, first: Any, last: Any) -> list[list[int]]:
        """Return the rows one by one."""
        return [[row] for row in range(first, last)]

    def whole(self, number: int) -> int:
        """Return a whole number."""
        return number

    def real(self, number: Any) -> float:
        """Return a whole number as a real one."""
        return float(number)

    def local(self, *shape: Any) -> Any:
        """Return an empty array of numbers."""
        return _Local(shape)

    def variable(self, value: Any) -> Any:
        """Return an object with the attribute `value`."""
        return SimpleNamespace(value=copy(value))

    @contextmanager
    def when(self, mask: Any) -> Iterator[None]:
        """Run the body, which masks all that it writes."""
        yield

    def given(self, flag: Any, then: Callable[[], None], otherwise: Callable[[], None] | None = None) -> None:
        """Call one of two functions."""
        chosen = then if flag else otherwise
        if chosen is not None:
            chosen()

    def choose(self, flag: Any, yes: Any, no: Any) -> Any:
        """Return one of two values."""
        return yes if flag else no

    def equal(self, index: Any, number: Any) -> bool:
        """Return whether two whole numbers are equal."""
        return bool(index == number)

    def below(self, index: Any, number: Any) -> bool:
        """Return whether a whole number is less than another one."""
        return bool(index < number)

    def apart(self, part: Callable[..., None], *given: Any) -> None:
        """Run the part."""
        part(self, *given)

    def mask(self, flag: Any) -> Any:
        """Return a condition that is the same for all networks."""
        return np.bool_(flag)

    @contextmanager
    def flushing(self) -> Iterator[None]:
        """Run the body. NumPy keeps numbers below 2^-1022, on which no test depends."""
        yield
