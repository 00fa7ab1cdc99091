"""Count the points of a store by status, list those that failed, and measure how fast blocks are done."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Status
from fastlin.sweeps.store import costs
from fastlin.sweeps.store.layout import STATUS
from fastlin.sweeps.store.resume import BAD, is_bad, is_missing
from fastlin.sweeps.store.store import Marker, Store

RECENT = 60.0  # seconds before the latest commit marker: the blocks of that time make the rate


@dataclass(frozen=True, eq=False)
class PointCounts:
    """Numbers of points by status, and which blocks are complete.

    The seeds of a reduced store that are not folded diverged, failed or are too stiff. All those of one lam
    in a block count as the worst status that occurred there.
    """

    ok: int
    diverged: int
    failed: int
    too_stiff: int
    absent: int
    pending: int
    complete: NDArray[np.bool_]  # by the number of the block
    bad: NDArray[np.bool_]  # blocks with bad points: diverged, failed or too stiff
    pending_seconds: NDArray[np.float64]  # estimated time of the pending points of each block
    bad_seconds: NDArray[np.float64]  # and of the bad points

    def missing(self, retry: bool = False) -> NDArray[np.bool_]:
        """Return a mask of the blocks with points that are still to be computed, see `Store.missing`."""
        return ~self.complete | self.bad if retry else ~self.complete

    def missing_seconds(self, retry: bool = False) -> NDArray[np.float64]:
        """Return the estimated time of the points of each block that are still to be computed."""
        return self.pending_seconds + self.bad_seconds if retry else self.pending_seconds

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.complete.size

    @property
    def points(self) -> int:
        """Number of points in all."""
        return self.ok + self.diverged + self.failed + self.too_stiff + self.absent + self.pending

    @property
    def done(self) -> int:
        """Number of points that are no longer pending."""
        return self.points - self.pending

    @property
    def totals(self) -> dict[str, int]:
        """Numbers of points in all and by status, and of blocks, as reports name them."""
        names = ("points", "ok", "diverged", "failed", "too_stiff", "absent", "pending", "blocks")
        return {name: getattr(self, name) for name in names}


def count_points(store: Store, markers: Iterable[Marker] | None = None) -> PointCounts:
    """Count the points of a store by status, and tell which blocks are complete.

    `markers` are the commit markers of its first blocks; by default of all. The other blocks count as not
    complete, and their points are in no number.
    """
    counts = np.zeros(len(Status), dtype=np.int64)
    complete = np.zeros(store.layout.block_count, dtype=bool)
    bad = np.zeros_like(complete)
    seconds = np.zeros((2, complete.size))
    for number, (index, codes) in enumerate(store.commit_markers() if markers is None else markers):
        counts += points(store, index, codes).sum(axis=0)
        missing, failed = is_missing(codes), is_bad(codes)
        complete[number], bad[number] = not missing.any(), failed.any()
        if not complete[number]:
            seconds[0, number] = costs.pending_seconds(store.layout, index, missing)
        if bad[number]:
            seconds[1, number] = costs.pending_seconds(store.layout, index, failed)
    return PointCounts(
        ok=int(counts[Status.OK]),
        diverged=int(counts[Status.DIVERGED]),
        failed=int(counts[Status.FAILED]),
        too_stiff=int(counts[Status.TOO_STIFF]),
        absent=int(counts[Status.ABSENT]),
        pending=int(counts[Status.PENDING]),
        complete=complete,
        bad=bad,
        pending_seconds=seconds[0],
        bad_seconds=seconds[1],
    )


def points(store: Store, index: tuple[int, ...], codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the numbers of points of a block, (architectures, statuses), from its status.

    They are those at each place along `PointSet.architecture_axis`. In a reduced store, every seed counts.
    """
    axis = store.layout.points.architecture_axis
    shape, codes = codes.shape, np.moveaxis(codes, axis, 0)
    cells = codes.reshape(len(codes), -1)
    counts = np.stack([(cells == status).sum(axis=1) for status in range(len(Status))], axis=1)
    seeds = store.layout.seeds_per_status(index)
    numbers = counts * seeds
    if counts[:, list(BAD)].any():
        bad = store.layout.bad_seeds(index, lambda: store.read_values(index))
        bad = np.moveaxis(np.broadcast_to(bad, shape), axis, 0).reshape(cells.shape)
        for code in BAD:
            numbers[:, code] = np.where(cells == code, bad, 0).sum(axis=1)
        others = numbers[:, [Status.PENDING, Status.ABSENT, *BAD]].sum(axis=1)
        numbers[:, Status.OK] = seeds * cells.shape[1] - others
    return numbers


def bad_points(store: Store) -> Iterator[dict[str, Any]]:
    """Yield every point that diverged, failed or is too stiff: its values on all axes, and "status".

    In a reduced store, "seed" is the first of the block and "last_seed" its last.
    """
    for index, codes in store.commit_markers():
        for *position, row, column in np.argwhere(is_bad(codes)).tolist():
            point = store.layout.where(index, tuple(position), row, column)
            code = codes[(*position, row, column)]
            yield {**point, **store.layout.seed_range(index), "status": Status(code).name.lower()}


class Speed(NamedTuple):
    """The rate at which the latest blocks were done."""

    blocks: float  # per second
    work: float  # estimated seconds of work per second


def speed(store: Store, began: float) -> Speed | None:
    """Return the speed by the time stamps of the latest commit markers; None where there are too few.

    Only markers count that were written after `began` (seconds since 1970). Older ones are of another run, or
    of a copy, in which all have the time of the copy.
    """
    entries = [entry for entry in store.marker_entries() if entry.modified >= began]
    entries.sort(key=lambda entry: entry.modified)
    if len(entries) < 2:
        return None
    first = bisect_left(entries, entries[-1].modified - RECENT, key=lambda entry: entry.modified)
    recent = entries[first:]
    span = recent[-1].modified - recent[0].modified
    if span <= 0:
        return None
    seconds, work = costs.seconds_of_blocks(store.layout), 0.0
    for entry in recent[1:]:
        with suppress(ValueError, IndexError):  # a file that is no commit marker
            work += float(seconds[store.layout.status.index(entry.key, STATUS)])
    return Speed((len(recent) - 1) / span, work / span)
