"""What a store holds, read from the store alone."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from fastlin.kernels import Status
from fastlin.sweeps import store


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
    # One architecture at a time: zarr reads its chunks side by side, and memory stays small.
    for architecture in range(status.shape[0]):
        slab = _read(status, architecture)
        counts += np.bincount(slab.ravel(), minlength=len(Status))[: len(Status)]
        for start in np.ndindex(*(-(-n // c) for n, c in zip(slab.shape, status.chunks, strict=True))):
            corner = tuple(i * c for i, c in zip(start, status.chunks, strict=True))
            part = slab[tuple(slice(a, a + c) for a, c in zip(corner, status.chunks, strict=True))]
            blocks += 1
            if (part != Status.PENDING).all():
                complete.add((architecture, *corner[1:]))
    return Tally(
        ok=int(counts[Status.OK]),
        diverged=int(counts[Status.DIVERGED]),
        failed=int(counts[Status.FAILED]),
        pending=int(counts[Status.PENDING]),
        complete=frozenset(complete),
        blocks=blocks,
        chunk=status.chunks,
    )


def _read(status: "zarr.Array[Any]", architecture: int) -> NDArray[np.uint8]:
    """Return the status of one architecture; a chunk that cannot be read marks nothing as done."""
    try:
        return np.asarray(status[architecture : architecture + 1])
    except (ValueError, OSError):  # a checksum that does not fit, a truncated file
        slab = np.full((1, *status.shape[1:]), Status.PENDING, dtype=np.uint8)
        counts = (-(-n // c) for n, c in zip(slab.shape, status.chunks, strict=True))
        for index in np.ndindex(*counts):
            part = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, status.chunks, strict=True))
            with suppress(ValueError, OSError):
                slab[part] = status[slice(architecture, architecture + 1), *part[1:]]
        return slab
