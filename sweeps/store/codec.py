"""One chunk of an array as it is stored: its numbers in little-endian order, and their crc32c.

The bytes are those that zarr writes. This codec stays because zarr's public API (3.1.6, arrays opened once,
written by region) makes `fastlin run phase-10m` 10 % slower: 3.31 s instead of 3.01, and 26 % slower from the
first block to the last. These are medians of 7 pairs of runs in turn, on 2 cores of an Intel Xeon (AVX-512),
while nothing else ran. A small block took 3 ms to write instead of 0.4, and its status 0.4 ms to read instead
of 0.025, which matters for thousands of blocks.
"""

from __future__ import annotations

from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from fastlin.sweeps.store.layout import ArraySpec


class DamagedError(ValueError):
    """A chunk is not what was written: its size or its checksum is wrong."""


def encode(form: ArraySpec, values: NDArray[Any]) -> list[Any]:
    """Return the buffers of a chunk, filled up where it reaches beyond the array."""
    part = np.ascontiguousarray(values, dtype=_little(form))
    if part.shape != form.chunk:
        whole = np.full(form.chunk, form.fill, dtype=part.dtype)
        whole[tuple(slice(size) for size in part.shape)] = part
        part = whole
    data = part.reshape(-1).view(np.uint8)
    return [data, _checksum(data)]


def decode(form: ArraySpec, index: tuple[int, ...], content: bytes) -> NDArray[Any]:
    """Return the numbers of a chunk that lie in the array.

    Raises
    ------
    DamagedError
        If they are not those that were written.
    """
    dtype = _little(form)
    size = int(np.prod(form.chunk)) * dtype.itemsize
    if len(content) != size + 4:
        raise DamagedError(f"has {len(content)} bytes instead of {size + 4}")
    data = np.frombuffer(content, dtype=np.uint8, count=size)
    if _checksum(data) != content[size:]:
        raise DamagedError("does not fit its checksum")
    whole = data.view(dtype).reshape(form.chunk)
    return whole[tuple(slice(part.stop - part.start) for part in form.region(index))]


def _little(form: ArraySpec) -> np.dtype[Any]:
    return np.dtype(form.dtype).newbyteorder("<")


def _checksum(data: NDArray[np.uint8]) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(4, "little")
