"""One chunk of an array as it is stored: its numbers in little-endian order, and their crc32c.

A compressed chunk holds its numbers with the last dimension first, so that words or bins that are zero
throughout lie in one run, and compresses them with zstd.

The bytes are those that zarr writes. This codec stays because zarr's public API (3.1.6, arrays opened once,
written by region) makes `fastlin run phase-10m` 10 % slower: 3.31 s instead of 3.01, and 26 % slower from the
first block to the last. These are medians of 7 pairs of runs in turn, on 2 cores of an Intel Xeon (AVX-512),
while nothing else ran. A small block took 3 ms to write instead of 0.4, and its status 0.4 ms to read instead
of 0.025, which matters for thousands of blocks.
"""

from __future__ import annotations

import math
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from fastlin.sweeps.store.array_spec import ArraySpec

# The fastest level: higher ones gain a few per cent on limbs, which are random bits between runs of zeros.
ZSTD_LEVEL = 1


class DamagedError(ValueError):
    """The size or the checksum of a chunk is wrong."""


def encode(form: ArraySpec, values: NDArray[Any]) -> list[Any]:
    """Return the buffers of a chunk, filled up where it reaches beyond the array."""
    part = np.ascontiguousarray(values, dtype=_little(form))
    if part.shape != form.chunk:
        whole = np.full(form.chunk, form.fill, dtype=part.dtype)
        whole[tuple(slice(size) for size in part.shape)] = part
        part = whole
    data = _compressed(part) if form.compressed else part.reshape(-1).view(np.uint8)
    return [data, _checksum(data)]


def decode(form: ArraySpec, index: tuple[int, ...], content: bytes) -> NDArray[Any]:
    """Return the numbers of a chunk that lie in the array.

    Raises
    ------
    DamagedError
        If the chunk is damaged.
    """
    dtype, size = _little(form), math.prod(form.chunk) * np.dtype(form.dtype).itemsize
    if len(content) < 4 or (not form.compressed and len(content) != size + 4):
        raise DamagedError(f"has {len(content)} bytes instead of {size + 4}")
    data = np.frombuffer(content, dtype=np.uint8, count=len(content) - 4)
    if _checksum(data) != content[-4:]:
        raise DamagedError("does not fit its checksum")
    whole = _decompressed(form, data) if form.compressed else data.view(dtype).reshape(form.chunk)
    return whole[tuple(slice(part.stop - part.start) for part in form.region(index))]


def _compressed(part: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a chunk whose last dimension was moved to the front, compressed.

    Most planes of it are zero, and only the others are copied. For 58 MB of partial sums this and zstd take
    30 ms, of which a full transposition alone would take 75.
    """
    columns = part.reshape(-1, part.shape[-1])
    planes = np.zeros(columns.shape[::-1], dtype=part.dtype)
    used = np.bitwise_or.reduce(columns.view(f"u{part.itemsize}"), axis=0)
    for plane in np.flatnonzero(used):
        planes[plane] = columns[:, plane]
    return np.frombuffer(Zstd(level=ZSTD_LEVEL).encode(planes), dtype=np.uint8)


def _decompressed(form: ArraySpec, data: NDArray[np.uint8]) -> NDArray[Any]:
    *rest, last = form.chunk
    content = np.frombuffer(Zstd(level=ZSTD_LEVEL).decode(data), dtype=_little(form))
    if content.size != math.prod(form.chunk):
        raise DamagedError(f"has {content.size} numbers instead of {math.prod(form.chunk)}")
    planes = content.reshape(last, -1)
    columns = np.zeros((planes.shape[1], last), dtype=content.dtype)
    for plane in np.flatnonzero(planes.view(f"u{content.itemsize}").any(axis=1)):
        columns[:, plane] = planes[plane]
    return columns.reshape(*rest, last)


def _little(form: ArraySpec) -> np.dtype[Any]:
    return np.dtype(form.dtype).newbyteorder("<")


def _checksum(data: NDArray[np.uint8]) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(4, "little")
