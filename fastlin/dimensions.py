"""Named leading dimensions of stacks of networks and of tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.validation import shown

# Dimensions of results, without "_2" at their end, which no stack may have.
RESERVED = ("condition", "input", "layer", "mode", "output", "sample", "side", "stage", "time", "unit")


class Axis(NamedTuple):
    """The values of a parameter, and whether they were given as a sequence, which makes a dimension."""

    name: str
    values: list[Any]
    is_dimension: bool

    @classmethod
    def read(cls, name: str, value: Any, check: Callable[[str, Any], Any]) -> Axis:
        """Return the checked values of a parameter: one, or those of a list, a range or an array."""
        if not is_sequence(value):
            return cls(name, [check(name, value)], False)
        values = [check(f"{name}[{index}]", each) for index, each in enumerate(value)]
        if not values:
            raise InputError(f"{name} is empty; needed is one value or more")
        return cls(name, values, True)


def is_sequence(value: Any) -> bool:
    """Tell whether a parameter is a list of values."""
    return isinstance(value, list | tuple | range) or (isinstance(value, np.ndarray) and value.ndim > 0)


def leading(axes: Sequence[Axis]) -> tuple[tuple[str, ...], dict[str, NDArray[Any]]]:
    """Return the dimensions and coordinates of a stack with these parameters."""
    named = [axis for axis in axes if axis.is_dimension]
    return tuple(axis.name for axis in named), {axis.name: np.array(axis.values) for axis in named}


class Stacked:
    """Things with named leading dimensions and their coordinates. Indexing is that of NumPy, one by one.

    Attributes
    ----------
    dims : tuple of str
    coords : dict of str to ndarray
        Coordinates of some or all dimensions.
    shape : tuple of int
    """

    dims: tuple[str, ...]
    coords: dict[str, NDArray[Any]]
    shape: tuple[int, ...]

    def _set_dimensions(
        self,
        shape: tuple[int, ...],
        dims: str | Sequence[str] | None,
        coords: Mapping[str, Any] | None,
        kind: str,
    ) -> None:
        """Write checked dimensions. By default a list has the dimension `kind`."""
        listed = [dims] if isinstance(dims, str) else dims
        if listed is not None and not isinstance(listed, Sequence):
            raise InputError(f"dims is {shown(dims)}; needed is a name or a list of names")
        if coords is not None and not isinstance(coords, Mapping):
            raise InputError(f"coords is {shown(coords)}; needed is a mapping of dimensions to values")
        names = (kind,) if listed is None and len(shape) == 1 else tuple(listed or ())
        if len(names) != len(shape):
            raise InputError(
                f"dims are {shown(names)}, and the leading shape is {shape}; needed is a name each"
            )
        for name in names:
            if not isinstance(name, str) or not name or name.removesuffix("_2") in RESERVED:
                used = ", ".join(RESERVED)
                raise InputError(f"{shown(name)} is no name of a leading dimension; results use {used}")
        if len(set(names)) < len(names):
            raise InputError(f"dims are {shown(names)}; needed are different names")
        self.dims, self.shape = names, shape
        self.coords = {}
        for name, values in (coords or {}).items():
            try:
                array = np.asarray(values)
            except ValueError:  # of lists of different lengths
                raise InputError(f"coordinate {shown(name)} is {shown(values)}; needed is a list") from None
            if name not in names or array.shape != (shape[names.index(name)],):
                raise InputError(f"coordinate {shown(name)} of shape {array.shape} does not fit {self.sizes}")
            self.coords[name] = array

    @property
    def sizes(self) -> dict[str, int]:
        """Size of each dimension."""
        return dict(zip(self.dims, self.shape, strict=True))

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a stack without dimensions has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if Ellipsis in [part for part in keys if isinstance(part, type(Ellipsis))]:
            at = next(index for index, part in enumerate(keys) if part is Ellipsis)
            keys = (*keys[:at], *(slice(None),) * (len(self.shape) - len(keys) + 1), *keys[at + 1 :])
        if len(keys) > len(self.shape):
            raise IndexError(f"{len(keys)} indices for the dimensions {self.dims}")
        return self.isel(**dict(zip(self.dims, keys, strict=False)))

    def isel(self, **indexers: Any) -> Any:
        """Return elements by their positions along dimensions.

        Parameters
        ----------
        **indexers
            A number, which drops the dimension, a slice or a list, by the names of dimensions.

        Returns
        -------
        The same kind of stack, or one element where all dimensions have a number.

        Raises
        ------
        InputError
            If there is no such dimension.

        Examples
        --------
        >>> nets = fl.balanced_init(fl.Architecture(4, 2, 4), lam=[-1.0, 0.0, 1.0], seed=range(5))
        >>> nets.isel(seed=2, lam=[0, 2])
        <Networks 4-2-4 (lam: 2)>
        >>> nets.isel(seed=2, lam=0).lam
        -1.0
        """
        if unknown := next((name for name in indexers if name not in self.dims), None):
            raise InputError(f"there is no dimension {unknown!r}; allowed: {', '.join(self.dims)}")
        places = np.arange(self.size).reshape(self.shape)
        dims, coords = [], dict(self.coords)
        for axis, name in reversed(list(enumerate(self.dims))):
            key = indexers.get(name, slice(None))
            key = np.asarray(key) if isinstance(key, list) else key
            places = places[(slice(None),) * axis + (key,)]
            if isinstance(key, int | np.integer):
                coords.pop(name, None)
                continue
            dims.append(name)
            if name in coords:
                coords[name] = coords[name][key]
        return self._part(places, tuple(reversed(dims)), coords)

    def _part(self, places: Any, dims: tuple[str, ...], coords: dict[str, NDArray[Any]]) -> Self | Any:
        """Return the elements at flat places (...), or one element for a number."""
        raise NotImplementedError

    def at(self, place: int) -> str:
        """Return in words where an element is.

        Parameters
        ----------
        place : int
            Its position, counted along the last dimension first.

        Returns
        -------
        str

        Examples
        --------
        >>> nets = fl.balanced_init(fl.Architecture(4, 2, 4), lam=[-1.0, 0.0, 1.0], seed=range(5))
        >>> nets.at(4)
        'seed = 1, lam = 0.0'
        """
        return place_of(self.dims, self.shape, self.coords, place)


def place_of(
    dims: tuple[str, ...], shape: tuple[int, ...], coords: Mapping[str, NDArray[Any]], place: int
) -> str:
    """Return where an element is, by coordinates where there are some, and by indices."""
    indices = np.unravel_index(place, shape)
    each = zip(dims, indices, strict=True)
    return ", ".join(f"{name} = {coords[name][k] if name in coords else int(k)}" for name, k in each)
