"""What a store holds, read from the store alone."""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from fastlin.kernels import Status
from fastlin.sweeps import store

SLAB_POINTS = 4_000_000  # whose status is in memory at a time


@dataclass(frozen=True)
class Tally:
    """Numbers of points by status, and which blocks are complete."""

    ok: int
    diverged: int
    failed: int
    pending: int
    complete: frozenset[tuple[int, ...]]  # the first point of each complete block
    blocks: int
    chunk: tuple[int, ...]

    @property
    def points(self) -> int:
        """Number of points in all."""
        return self.ok + self.diverged + self.failed + self.pending

    @property
    def done(self) -> int:
        """Number of points that are no longer pending."""
        return self.points - self.pending


def tally(path: str) -> Tally:
    """Count the points of a store by status; a block is complete when none of its points is pending."""
    store.read_spec(path)
    status = store.read_status(path)
    counts = np.zeros(len(Status), dtype=np.int64)
    complete, blocks = set(), 0
    for slab in _slabs(status):
        values = _read(status, slab)
        for part in _chunks(values.shape, status.chunks):
            found = np.bincount(values[part].ravel(), minlength=len(Status))[: len(Status)]
            counts += found
            blocks += 1
            if not found[Status.PENDING]:
                inside = (piece.start for piece in part)
                complete.add(tuple(whole.start + start for whole, start in zip(slab, inside, strict=True)))
    return Tally(
        ok=int(counts[Status.OK]),
        diverged=int(counts[Status.DIVERGED]),
        failed=int(counts[Status.FAILED]),
        pending=int(counts[Status.PENDING]),
        complete=frozenset(complete),
        blocks=blocks,
        chunk=status.chunks,
    )


def _chunks(shape: tuple[int, ...], chunk: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Cut an array into chunks."""
    for index in np.ndindex(*(-(-size // step) for size, step in zip(shape, chunk, strict=True))):
        spans = zip(index, chunk, shape, strict=True)
        yield tuple(slice(i * step, min((i + 1) * step, size)) for i, step, size in spans)


def _slabs(status: "zarr.Array[Any]") -> Iterator[tuple[slice, ...]]:
    """Cut the points into slabs of many chunks, which zarr reads side by side, and of bounded size."""
    _, *others, _, lams = status.shape
    seeds = status.chunks[-2]
    count = max(1, SLAB_POINTS // (math.prod(others) * seeds * lams))
    yield from _chunks(status.shape, (1, *others, count * seeds, lams))


def _read(status: "zarr.Array[Any]", slab: tuple[slice, ...]) -> NDArray[np.uint8]:
    """Return the status of a slab; a chunk that cannot be read marks nothing as done."""
    try:
        return np.asarray(status[slab])
    except (ValueError, OSError):  # a checksum that does not fit, a truncated file
        values = np.full([part.stop - part.start for part in slab], Status.PENDING, dtype=np.uint8)
        for part in _chunks(values.shape, status.chunks):
            spans = zip(slab, part, strict=True)
            there = tuple(slice(whole.start + p.start, whole.start + p.stop) for whole, p in spans)
            with suppress(ValueError, OSError):
                values[part] = status[there]
        return values
