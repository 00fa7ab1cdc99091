"""Sweeps that keep statistics over seeds: workers fold the seeds of each block, `finish` merges the blocks.

Both are exact (`fastlin.kernels.exact_statistics`), so the statistics depend neither on how seeds are cut
into blocks nor on the order of computation. `fastlin.sweeps.store.partials` decides which sums a store keeps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Status
from fastlin.kernels import exact_statistics as fold
from fastlin.observables import REGISTRY
from fastlin.sweeps.run.block import Result
from fastlin.sweeps.run.isolation import Compute, Outcome, evaluate
from fastlin.sweeps.spec.group import Group
from fastlin.sweeps.spec.reduction import Reduction
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import partials
from fastlin.sweeps.store.cell import Cell, read_cell
from fastlin.sweeps.store.layout import COUNT, PARTIALS, folded_together
from fastlin.sweeps.store.lease import writing
from fastlin.sweeps.store.location import Location
from fastlin.sweeps.store.resume import Codes
from fastlin.sweeps.store.store import Store, Values, reopen

BATCH_BYTES = 2_000_000  # of values that are computed and folded at a time, so that they stay in the cache
Cells = NDArray[np.int64]


def fold_group(group: Group, wanted: NDArray[np.bool_], compute: Compute, reduce: Reduction) -> Outcome:
    """Fold all seeds of a group for the wanted lam (1, L). Return the words to store, by chunk dimensions."""
    columns = np.flatnonzero(wanted)
    cells, worst, reasons = folded(replace(group, lams=group.lams[columns]), reduce, compute)
    status = np.full(wanted.shape, Status.PENDING, dtype=np.uint8)
    status[..., columns] = worst
    spread = {}
    for name, part in cells.items():
        words = partials.pack(part, blocks=1)
        spread[name] = np.zeros((*wanted.shape, *words.shape[1:]), dtype=words.dtype)
        spread[name].reshape(-1, *words.shape[1:])[columns] = words
    reasons = [(row, int(columns[column]), why) for row, column, why in reasons]
    return Outcome(Result(spread, status), reasons)


def folded(
    group: Group, reduce: Reduction, compute: Compute
) -> tuple[dict[str, Cells], Codes, list[tuple[int, int, str]]]:
    """Return cells of partials, the worst status of each lam (L,), and reasons for failures.

    Cells are (L, T, rows, words), of time scales (L, scales, words).
    """
    lams = group.lams.size
    arrays = folded_together(group.observables)
    shapes = {PARTIALS: (lams, group.times.size)}
    cells = {
        name: fold.empty((_row_count(members), *shapes.get(name, (lams, 1))), reduce.bins)
        for name, members in arrays.items()
    }
    worst = np.full(lams, Status.OK, dtype=np.uint8)
    reasons: list[tuple[int, int, str]] = []
    numbers = sum(math.prod(part.shape[:-1]) for part in cells.values())
    step = max(1, BATCH_BYTES // (8 * numbers))
    for start, stop in pairwise([*range(0, group.seeds.size, step), group.seeds.size]):
        part = replace(group, seeds=group.seeds[start:stop])
        outcome = evaluate(part, np.full((stop - start, lams), True), compute)
        status = outcome.result.status
        worst = np.maximum(worst, status.max(axis=0))
        ok = status == Status.OK
        for name, members in arrays.items():
            for row, values in enumerate(_rows(outcome.result.values, members)):
                fold.fold(values, ok, cells[name][row], reduce.edges)
        reasons += [(start + row, column, why) for row, column, why in outcome.reasons]
    found = {name: np.moveaxis(part, 0, 2) for name, part in cells.items()}
    return {name: part if name == PARTIALS else part[:, 0] for name, part in found.items()}, worst, reasons


def _row_count(names: list[str]) -> int:
    return sum(REGISTRY[name].rows for name in names)


def _rows(values: Values, names: list[str]) -> list[NDArray[np.float64]]:
    """Return the values (S, L, T) of each row, one for each number of an observable."""
    found = []
    for name in names:
        part = values[name] if REGISTRY[name].over_time else values[name][..., None]
        rows = np.moveaxis(part.reshape(*part.shape[:3], -1), -1, 0)
        found += [np.ascontiguousarray(row) for row in rows]
    return found


def finish(location: Location, place: tuple[int, ...]) -> list[int]:
    """Write the statistics of a cell and drop the partial sums that are needed no more.

    `place` is the place in the grid without that along the seeds. Nothing is done while blocks are pending.
    Returns the numbers of the blocks whose partial sums are lost, which are pending now.
    """
    store = reopen(location)
    cell = read_cell(store, place)
    if cell is not None and cell.lost:
        cell = read_cell(store, place)  # another run may have merged the blocks while they were read
    if cell is None:
        return []
    with writing(location):
        if cell.lost:
            for index in cell.lost:
                store.withdraw(index)
            return [store.layout.number(index) for index in cell.lost]
        _write(store, place, cell)
    # This process may have been suspended and may have replaced newer statistics.
    return [] if store.current else finish(location, place)


def is_finished(store: Store, place: tuple[int, ...]) -> bool:
    """Return whether `finish` would write nothing."""
    cell = read_cell(store, place)
    if cell is None:
        return True
    statistics = _statistics(store, place, cell)
    return (
        not cell.lost
        and (statistics is None or store.has_statistics(place, statistics))
        and all(store.are_partials(*each) for each in _final_partials(store, place, cell))
    )


def _write(store: Store, place: tuple[int, ...], cell: Cell) -> None:
    """Write the statistics of a cell, then its merged partial sums, and delete the others, in this order."""
    statistics = _statistics(store, place, cell)
    if statistics is not None:
        store.write_statistics(place, statistics)
    for index, sums in _final_partials(store, place, cell):
        store.replace_partials(index, sums)


def _statistics(store: Store, place: tuple[int, ...], cell: Cell) -> Values | None:
    """Return the statistics of a cell, or None if the store has them and no sums to make them of."""
    if cell.dropped.all():
        return None
    axis = len(place) - 1
    sums = {name: np.squeeze(part, axis=axis) for name, part in cell.total.items()}
    found = evaluated(store.layout.spec, sums)
    if cell.dropped.any():
        known = ~np.squeeze(cell.dropped, axis=axis)
        old = store.read_statistics(place)
        found = {name: np.where(spread(known, part), part, old[name]) for name, part in found.items()}
    return found


def _final_partials(
    store: Store, place: tuple[int, ...], cell: Cell
) -> Iterator[tuple[tuple[int, ...], Values | None]]:
    """Yield the blocks of a cell whose partial sums change, each with its final sums, or None for no sums."""
    blocks = store.layout.seed_blocks(place)
    keeps = partials.keeps(store.layout)
    if keeps and len(blocks) == 1:
        return
    for number, index in enumerate(blocks):
        first = number == 0 and keeps
        if not (first and cell.merged):
            yield index, _kept(store, index, cell, len(blocks) if first else 0)


def _kept(store: Store, index: tuple[int, ...], cell: Cell, blocks: int) -> Values | None:
    """Return the partial sums that the chunks of a block hold from now on; None where that is nothing.

    Where points are bad these are its own, elsewhere the merged ones of so many blocks, or none.
    """
    if not blocks and not cell.bad.any():
        return None
    own = store.read_values(index)
    if blocks:
        rest: Values = {name: partials.pack(part, blocks) for name, part in cell.total.items()}
    else:
        rest = {name: np.zeros_like(part) for name, part in own.items()}
    return {name: np.where(spread(cell.bad, part), part, rest[name]) for name, part in own.items()}


def spread(points: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of points with as many dimensions as their values."""
    return points.reshape(points.shape + (1,) * (values.ndim - points.ndim))


def evaluated(spec: Spec, cells: Values) -> Values:
    """Return the arrays of statistics of merged cells (..., L, T, rows, words) or (..., L, scales, words)."""
    assert spec.reduce is not None
    name, part = next(iter(cells.items()))
    found: Values = {COUNT: fold.count(part[..., 0, 0, :] if name == PARTIALS else part[..., 0, :])}
    for group, members in folded_together(spec.observables).items():
        first = 0
        for name in members:
            mine = cells[group][..., first : first + _row_count([name]), :]
            mine = mine.reshape(*mine.shape[:-2], *REGISTRY[name].stored_dims.values(), mine.shape[-1])
            first += _row_count([name])
            with np.errstate(over="ignore"):  # what does not fit float32 is inf
                found[name] = spec.reduce.evaluate(mine).astype(spec.dtype)
            if spec.reduce.histogram:
                found[f"{name}_histogram"] = fold.histogram(mine)
    return found
