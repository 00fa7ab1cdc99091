"""One array of a store: its dimensions, its chunks, and the keys of these."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
# Separator in the keys of chunks. With "/" every block would make its own folders and take twice the time.
SEPARATOR: Final = "."

# Arrays by their names.
Values = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class ArraySpec:
    """One array of a store."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: str
    fill: Any
    attributes: dict[str, Any]
    # Bytes on disk, as estimated, of all values along the last dimension. An array with an estimate is
    # compressed with zstd, the last dimension stored first.
    compressed: float = 0.0
    transient: bool = False  # whether a chunk of a complete block may have been deleted since
    # Dimensions of size 1 that the stored array lacks. Code that computes finds them in any store.
    implied: frozenset[str] = frozenset()

    def key(self, name: str, index: tuple[int, ...]) -> str:
        """Return where a chunk is stored."""
        return f"{name}/{SEPARATOR.join(['c', *map(str, self.explicit(index))])}"

    def explicit(self, entries: Sequence[T]) -> tuple[T, ...]:
        """Return the entries of the dimensions that the stored array has."""
        if not self.implied:
            return tuple(entries)
        return tuple(
            entry for name, entry in zip(self.dims, entries, strict=False) if name not in self.implied
        )

    def index(self, key: str, name: str) -> tuple[int, ...]:
        """Return the index of the chunk that is stored at a key.

        Raises
        ------
        ValueError
            If the key is of no chunk.
        """
        first, *numbers = key.removeprefix(f"{name}/").split(SEPARATOR)
        if first != "c" or len(numbers) != len(self.explicit(self.dims)):
            raise ValueError(f"{key} is no chunk of {name}")
        entries = iter(map(int, numbers))
        return tuple(0 if name in self.implied else next(entries) for name in self.dims)

    def region(self, index: tuple[int, ...]) -> tuple[slice, ...]:
        """Return the part of the array that a chunk holds."""
        return tuple(
            slice(i * step, min((i + 1) * step, size))
            for i, step, size in zip(index, self.chunk, self.shape, strict=True)
        )

    def parts(self, index: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Any]]:
        """Yield the index of each chunk that the array has for a block, and the part of the block in it.

        There is one chunk, and more along time after time has grown.
        """
        rank = len(index)
        if "time" not in self.dims:
            yield (*index, *(0,) * (len(self.shape) - rank)), ...
            return
        for number in range(math.ceil(self.shape[rank] / self.chunk[rank])):
            chunk = (*index, number, *(0,) * (len(self.shape) - rank - 1))
            yield chunk, (*(slice(None),) * rank, self.region(chunk)[rank])

    @property
    def chunk_bytes(self) -> int:
        """Size of one chunk before compression. A chunk is stored whole."""
        return math.prod(self.chunk) * np.dtype(self.dtype).itemsize

    @property
    def chunk_count(self) -> int:
        """Number of chunks."""
        return math.prod(math.ceil(size / step) for size, step in zip(self.shape, self.chunk, strict=True))

    @property
    def compressed_bytes(self) -> float:
        """Estimated bytes on disk of a compressed array; 0 of a plain one."""
        return math.prod(self.shape[:-1]) * self.compressed

    def without(self, dimension: str) -> ArraySpec:
        """Return the spec of an array of the same kind that lacks a dimension."""
        at = self.dims.index(dimension)

        def rest(parts: tuple[T, ...]) -> tuple[T, ...]:
            return parts[:at] + parts[at + 1 :]

        return replace(self, dims=rest(self.dims), shape=rest(self.shape), chunk=rest(self.chunk))
