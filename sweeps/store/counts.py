"""Counts of the points of a store by status, and the speed of a run, both read from the store alone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Status
from fastlin.sweeps.store import costs, partials
from fastlin.sweeps.store.cell import BAD
from fastlin.sweeps.store.layout import PARTIALS, SEPARATOR, STATUS
from fastlin.sweeps.store.store import Store, Values

RECENT = 60.0  # seconds before the last commit marker; their blocks give the speed


@dataclass(frozen=True, eq=False)
class PointCounts:
    """Numbers of points by status, and which blocks are complete.

    Where seeds are folded, all points of a block and lam that are not ok count as diverged, or as failed if
    any of them failed.
    """

    ok: int
    diverged: int
    failed: int
    pending: int
    complete: NDArray[np.bool_]  # by the number of the block
    bad: NDArray[np.bool_]  # blocks with points that diverged or failed
    pending_seconds: NDArray[np.float64]  # estimated time of the pending points of each block
    bad_seconds: NDArray[np.float64]  # and of those that diverged or failed

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.complete.size

    @property
    def points(self) -> int:
        """Number of points in all."""
        return self.ok + self.diverged + self.failed + self.pending

    @property
    def done(self) -> int:
        """Number of points that are no longer pending."""
        return self.points - self.pending


def count_points(store: Store) -> PointCounts:
    """Count the points of a store by status; a block is complete when none of its points is pending."""
    counts = np.zeros(len(Status), dtype=np.int64)
    complete = np.zeros(store.layout.block_count, dtype=bool)
    bad = np.zeros_like(complete)
    seconds = np.zeros((2, complete.size))
    for number, (index, codes) in enumerate(store.commit_markers()):
        found = points(store, index, codes).sum(axis=0)
        counts += found
        complete[number] = found[Status.PENDING] == 0
        bad[number] = found[list(BAD)].any()
        if not complete[number]:
            seconds[0, number] = costs.pending_seconds(store.layout, index, codes == Status.PENDING)
        if bad[number]:
            seconds[1, number] = costs.pending_seconds(store.layout, index, np.isin(codes, BAD))
    return PointCounts(
        ok=int(counts[Status.OK]),
        diverged=int(counts[Status.DIVERGED]),
        failed=int(counts[Status.FAILED]),
        pending=int(counts[Status.PENDING]),
        complete=complete,
        bad=bad,
        pending_seconds=seconds[0],
        bad_seconds=seconds[1],
    )


def points(store: Store, index: tuple[int, ...], codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the numbers of points of a block, (architectures, statuses), from its codes.

    Where seeds are folded, each seed is a point.
    """
    cells = codes.reshape(len(codes), -1)
    counts = np.stack([(cells == status).sum(axis=1) for status in range(len(Status))], axis=1)
    if not store.layout.spec.reduce:
        return counts
    seeds = store.layout.block_seeds(index).size
    folded = counts * seeds
    if counts[:, list(BAD)].any():
        lost = seeds - _seeds_ok(store.read_values(index)).reshape(cells.shape)
        for code in BAD:
            folded[:, code] = np.where(cells == code, lost, 0).sum(axis=1)
        pending_or_bad = folded[:, [Status.PENDING, *BAD]].sum(axis=1)
        folded[:, Status.OK] = seeds * cells.shape[1] - pending_or_bad
    return folded


def _seeds_ok(values: Values) -> NDArray[np.int64]:
    """Return how many seeds of a block are ok for each lam (..., L): as many for all observables."""
    name, part = next(iter(values.items()))
    return partials.count_in(part[..., 0, 0, :] if name == PARTIALS else part[..., 0, :])


def bad_points(store: Store) -> Iterator[dict[str, Any]]:
    """Yield every point that diverged or failed: its values on all axes, and "status".

    Where seeds are folded, "seed" is the first seed of the block and "last_seed" its last one.
    """
    for index, codes in store.commit_markers():
        for *place, row, column in np.argwhere(np.isin(codes, BAD)).tolist():
            point = store.layout.where(index, tuple(place), row, column)
            if store.layout.spec.reduce:
                point["last_seed"] = int(store.layout.block_seeds(index)[-1])
            code = codes[(*place, row, column)]
            yield {**point, "status": Status(code).name.lower()}


class Speed(NamedTuple):
    """Speed of the latest blocks."""

    blocks: float  # per second
    work: float  # estimated seconds of work per second


def speed(store: Store) -> Speed | None:
    """Return the speed by the time stamps of the latest commit markers; None where there are too few."""
    entries = sorted(store.marker_entries(), key=lambda entry: entry.modified)
    if len(entries) < 2:
        return None
    first = bisect_left(entries, entries[-1].modified - RECENT, key=lambda entry: entry.modified)
    recent = entries[first:]
    span = recent[-1].modified - recent[0].modified
    if span <= 0:
        return None
    seconds, prefix = costs.seconds_of_blocks(store.layout), store.layout.status.key(STATUS, ())
    work = 0.0
    for entry in recent[1:]:
        with suppress(ValueError, IndexError):  # a file that is no commit marker
            index = tuple(map(int, entry.key.removeprefix(prefix).split(SEPARATOR)[1:]))
            work += float(seconds[index])
    return Speed((len(recent) - 1) / span, work / span)
