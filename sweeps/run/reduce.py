"""Statistics over seeds: `finish` merges the partial sums of all blocks of a cell and evaluates them.

Partial sums are exact (`fastlin.kernels.exact_statistics`), so the statistics depend neither on how seeds are
cut into blocks nor on the order of computation. `fastlin.sweeps.store.partials` tells which sums are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import exact_statistics as fold
from fastlin.observables.registry import REGISTRY
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import partials
from fastlin.sweeps.store.array_spec import Values
from fastlin.sweeps.store.cell import Cell, read_cell
from fastlin.sweeps.store.contents import COUNT
from fastlin.sweeps.store.lease import writing
from fastlin.sweeps.store.location import Location
from fastlin.sweeps.store.partials import folded_together, row_count
from fastlin.sweeps.store.store import Store, reopen


def finish(location: Location, cell_index: tuple[int, ...]) -> list[int]:
    """Write the statistics of a cell and drop the partial sums that are needed no more.

    `cell_index` is the index in the grid without that along the seeds. Nothing is done while blocks are
    pending. Returns the numbers of the blocks whose partial sums are lost, which are pending now.
    """
    store = reopen(location)
    cell = read_cell(store, cell_index)
    if cell is not None and cell.lost:
        cell = read_cell(store, cell_index)  # another run may have merged the blocks while they were read
    if cell is None:
        return []
    with writing(location):
        if cell.lost:
            for index in cell.lost:
                store.withdraw(index)
            return [store.layout.number(index) for index in cell.lost]
        _write(store, cell_index, cell)
    # This process may have been suspended and may have replaced newer statistics.
    return [] if store.current else finish(location, cell_index)


def is_finished(store: Store, cell_index: tuple[int, ...]) -> bool:
    """Return whether `finish` would write nothing."""
    cell = read_cell(store, cell_index)
    if cell is None:
        return True
    statistics = _statistics(store, cell_index, cell)
    return (
        not cell.lost
        and (statistics is None or store.has_statistics(cell_index, statistics))
        and all(store.are_partials(*each) for each in _final_partials(store, cell_index, cell))
    )


def _write(store: Store, cell_index: tuple[int, ...], cell: Cell) -> None:
    """Write the statistics of a cell, then its merged partial sums, and delete the others, in this order.

    The first block holds the merged sums until those of the other blocks are deleted, so that a kill in
    between loses none, also where none are kept.
    """
    statistics = _statistics(store, cell_index, cell)
    if statistics is not None:
        store.write_statistics(cell_index, statistics)
    first, *others = store.layout.seed_blocks(cell_index)
    if others and not (store.layout.keeps_values or cell.merged or cell.dropped.all()):
        store.replace_partials(first, _kept(store, first, cell, 1 + len(others)))
    for index, sums in _final_partials(store, cell_index, cell):
        store.replace_partials(index, sums)


def _statistics(store: Store, cell_index: tuple[int, ...], cell: Cell) -> Values | None:
    """Return the statistics of a cell, or None if the store has them and no sums to make them of."""
    if cell.dropped.all():
        return None
    axis = len(cell_index) - 1
    sums = {name: np.squeeze(part, axis=axis) for name, part in cell.total.items()}
    statistics = evaluated(store.layout.spec, sums)
    if cell.dropped.any():
        known = ~np.squeeze(cell.dropped, axis=axis)
        old = store.read_statistics(cell_index)
        statistics = {
            name: np.where(spread(known, part), part, old[name]) for name, part in statistics.items()
        }
    return statistics


def _final_partials(
    store: Store, cell_index: tuple[int, ...], cell: Cell
) -> Iterator[tuple[tuple[int, ...], Values | None]]:
    """Yield the blocks of a cell, each with its final sums, or None for no sums.

    The first block comes first if it keeps the merged sums, and last if it loses its own.
    """
    first, *others = store.layout.seed_blocks(cell_index)
    keeps = store.layout.keeps_values
    if keeps and not cell.merged:
        yield first, _kept(store, first, cell, 1 + len(others))
    for index in others:
        yield index, _kept(store, index, cell, 0)
    if not keeps:
        yield first, _kept(store, first, cell, 0)


def _kept(store: Store, index: tuple[int, ...], cell: Cell, blocks: int) -> Values | None:
    """Return the partial sums that the chunks of a block hold from now on; None where that is nothing.

    Where points are bad, or their sums were dropped, these are its own, elsewhere the merged ones of so many
    blocks, or none.
    """
    if not blocks and not cell.bad.any():
        return None
    kept = cell.bad | cell.dropped
    own = store.read_values(index)
    if blocks:
        merged: Values = {name: partials.pack(part, blocks) for name, part in cell.total.items()}
    else:
        merged = {name: np.zeros_like(part) for name, part in own.items()}
    return {name: np.where(spread(kept, part), part, merged[name]) for name, part in own.items()}


def spread(points: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of points with as many dimensions as their values."""
    return points.reshape(points.shape + (1,) * (values.ndim - points.ndim))


def evaluated(spec: Spec, cells: Values) -> Values:
    """Return the arrays of statistics of merged cells (..., L, T, rows, words) or (..., L, scales, words)."""
    reduction = spec.reduction
    statistics: Values = {COUNT: fold.count(partials.of_one_number(cells))}
    for group, members in folded_together(spec.observables).items():
        first = 0
        for name in members:
            sums = cells[group][..., first : first + row_count([name]), :]
            sums = sums.reshape(*sums.shape[:-2], *REGISTRY[name].stored_dims.values(), sums.shape[-1])
            first += row_count([name])
            with np.errstate(over="ignore"):  # what does not fit float32 is inf
                statistics[name] = reduction.evaluate(sums).astype(spec.dtype)
            if reduction.histogram:
                statistics[f"{name}_histogram"] = fold.histogram(sums)
    return statistics
