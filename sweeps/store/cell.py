"""One cell of a reduced store, a chunk of its statistics: which seeds the partial sums of its blocks hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import exact_statistics as fold
from fastlin.sweeps.store import partials
from fastlin.sweeps.store.array_spec import Values
from fastlin.sweeps.store.contents import COUNT
from fastlin.sweeps.store.resume import is_bad, is_missing
from fastlin.sweeps.store.store import DamagedBlockError, Store

Held = dict[str, NDArray[np.int64]]  # the number of blocks in each number of each array
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
        Where a point of any block diverged or failed.
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


def read_cell(store: Store, place: tuple[int, ...]) -> Cell | None:
    """Read a cell, given by its place in the grid without that along the seeds; None if blocks are pending.

    Raises
    ------
    DamagedBlockError
        If the partial sums of a block are damaged.
    """
    blocks = store.layout.seed_blocks(place)
    status = [store.read_status(index) for index in blocks]
    if any(is_missing(codes).any() for codes in status):
        return None
    bad: Mask = np.any([is_bad(codes) for codes in status], axis=0)
    total, held = _unpacked(store.read_values(blocks[0]))
    merged = all((part == len(blocks)).all() for part in held.values())
    dropped = _dropped(store, place, bad)
    lost = []
    for number, index in enumerate(blocks, start=1):
        if number > 1 and not (_reach(held, number, bad.ndim) | dropped).all():
            _merge(total, held, number, *_unpacked(store.read_values(index)))
        if not (_reach(held, number, bad.ndim) | dropped).all():
            lost.append(index)
            held = {name: np.maximum(part, number) for name, part in held.items()}
    return Cell(total, merged, bad, dropped, lost)


def _merge(total: Values, held: Held, number: int, part: Values, blocks: Held) -> None:
    """Add the sums of the block of that number, from 1 on, to those that do not hold it yet."""
    for name, cells in part.items():
        wanted = (held[name] < number) & (blocks[name] > 0)
        cells[~wanted] = partials.empty_like(cells)
        fold.merge(total[name], cells)
        held[name] += np.where(wanted, blocks[name], 0)


def _dropped(store: Store, place: tuple[int, ...], bad: Mask) -> Mask:
    """Tell where the statistics are those of all seeds, and no block holds partial sums.

    Partial sums that are there are newer than the statistics. Where points are bad they are kept.
    """
    if store.layout.keeps_values:
        return np.zeros_like(bad)
    try:
        count = np.expand_dims(store.read_statistics(place)[COUNT], len(place) - 1)
    except DamagedBlockError:
        return np.zeros_like(bad)
    found: Mask = (count == store.layout.spec.seeds.size) & ~bad
    for index in store.layout.seed_blocks(place):
        if not store.are_partials(index, None):
            held = {name: partials.blocks_in(part) for name, part in store.read_values(index).items()}
            found &= ~_reach(held, 1, bad.ndim, np.any)
    return found


def _unpacked(values: Values) -> tuple[Values, Held]:
    found = {name: partials.unpack(part) for name, part in values.items()}
    return {name: cells for name, (cells, _) in found.items()}, {name: n for name, (_, n) in found.items()}


def _reach(held: Held, number: int, rank: int, of_each: Callable[..., Any] = np.all) -> Mask:
    """Tell for which lam all numbers (or any) are of so many blocks or more."""
    found = [of_each(part >= number, axis=tuple(range(rank, part.ndim))) for part in held.values()]
    mask: Mask = of_each(found, axis=0)
    return mask
