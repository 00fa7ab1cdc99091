"""One cell of a reduced store, a chunk of its statistics: which seeds the partial sums of its blocks hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Status
from fastlin.kernels import exact_statistics as fold
from fastlin.sweeps.store import partials
from fastlin.sweeps.store.array_spec import Values
from fastlin.sweeps.store.contents import COUNT
from fastlin.sweeps.store.resume import is_bad, is_missing
from fastlin.sweeps.store.store import DamagedBlockError, Store

BlockCounts = dict[str, NDArray[np.int64]]  # the number of blocks in each number of each array
Mask = NDArray[np.bool_]  # of the lam of all groups of a cell, in the dimensions of a block's status


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell whose blocks are all complete.

    Attributes
    ----------
    total : dict of str to array
        The partial sums of all its seeds, merged.
    merged : bool
        Whether the store holds them already in this form.
    bad : array of bool
        Where a point of any block is bad: diverged, failed or too stiff.
    dropped : array of bool
        Where the store holds the statistics of all seeds and no partial sums any more.
    lost : list of tuple of int
        Blocks whose partial sums are missing, though neither merged nor dropped.
    """

    total: Values
    merged: bool
    bad: Mask
    dropped: Mask
    lost: list[tuple[int, ...]]


def read_cell(store: Store, cell_index: tuple[int, ...]) -> Cell | None:
    """Read a cell, given by its index in the grid without that along the seeds; None if blocks are pending.

    Raises
    ------
    DamagedBlockError
        If the partial sums of a block are damaged.
    """
    blocks = store.layout.seed_blocks(cell_index)
    status = [store.read_status(index) for index in blocks]
    if any(is_missing(codes).any() for codes in status):
        return None
    bad: Mask = np.any([is_bad(codes) for codes in status], axis=0)
    absent = np.any([codes == Status.ABSENT for codes in status], axis=0)
    total, counts = _unpacked(store.read_values(blocks[0]))
    merged = all((part == len(blocks)).all() for part in counts.values())
    dropped = _dropped(store, cell_index, bad, absent)
    lost = []
    for number, index in enumerate(blocks, start=1):
        if number > 1 and not (_reach(counts, number, bad.ndim) | dropped).all():
            _merge(total, counts, number, *_unpacked(store.read_values(index)))
        if not (_reach(counts, number, bad.ndim) | dropped).all():
            lost.append(index)
            counts = {name: np.maximum(part, number) for name, part in counts.items()}
    return Cell(total, merged, bad, dropped, lost)


def _merge(total: Values, counts: BlockCounts, number: int, part: Values, part_counts: BlockCounts) -> None:
    """Add the sums of the block of that number, from 1 on, to those that do not hold it yet."""
    for name, cells in part.items():
        wanted = (counts[name] < number) & (part_counts[name] > 0)
        cells[~wanted] = partials.empty_like(cells)
        fold.merge(total[name], cells)
        counts[name] += np.where(wanted, part_counts[name], 0)


def _dropped(store: Store, cell_index: tuple[int, ...], bad: Mask, absent: Mask) -> Mask:
    """Tell where the statistics are those of all seeds, and no block holds partial sums.

    Partial sums that are there are newer than the statistics. Where points are bad they are kept. Where they
    are absent the statistics are of no seed.
    """
    if store.layout.keeps_values:
        return np.zeros_like(bad)
    try:
        count = np.expand_dims(store.read_statistics(cell_index)[COUNT], len(cell_index) - 1)
    except DamagedBlockError:
        return np.zeros_like(bad)
    dropped: Mask = ((count == store.layout.spec.seeds.size) | absent) & ~bad
    for index in store.layout.seed_blocks(cell_index):
        if not store.are_partials(index, None):
            counts = {name: partials.blocks_in(part) for name, part in store.read_values(index).items()}
            dropped &= ~_reach(counts, 1, bad.ndim, np.any)
    return dropped


def _unpacked(values: Values) -> tuple[Values, BlockCounts]:
    unpacked = {name: partials.unpack(part) for name, part in values.items()}
    cells = {name: part for name, (part, _) in unpacked.items()}
    counts = {name: part for name, (_, part) in unpacked.items()}
    return cells, counts


def _reach(counts: BlockCounts, number: int, rank: int, of_each: Callable[..., Any] = np.all) -> Mask:
    """Tell for which lam all numbers (or any) are of so many blocks or more."""
    reached = [of_each(part >= number, axis=tuple(range(rank, part.ndim))) for part in counts.values()]
    mask: Mask = of_each(reached, axis=0)
    return mask
