"""Sweeps that keep statistics over seeds: a block folds its seeds, and blocks are merged in the end.

Both are exact (`fastlin.kernels.fold`), so the statistics depend neither on how seeds are cut into blocks nor
on who computed them when.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Status, fold
from fastlin.observables import REGISTRY
from fastlin.sweeps.block import Block, Result
from fastlin.sweeps.isolation import Compute, Outcome, evaluate
from fastlin.sweeps.layout import COUNT, PARTIALS
from fastlin.sweeps.places import Place
from fastlin.sweeps.reduction import Reduction
from fastlin.sweeps.store import Codes, Store, Values, reopen

BATCH_BYTES = 2_000_000  # of values that are folded at a time, while they are in a core's cache
Cells = NDArray[np.int64]


def fold_block(
    store: Store, index: tuple[int, ...], before: Codes, wanted: NDArray[np.bool_], compute: Compute
) -> Outcome:
    """Fold all seeds of a block for the lam that are wanted; the others keep their cells."""
    columns = np.flatnonzero(wanted)
    block = store.layout.block(index)
    reduce = store.layout.spec.reduce
    assert reduce is not None
    cells, status, reasons = folded(replace(block, lams=block.lams[columns]), reduce, compute)
    reasons = [(row, int(columns[column]), why) for row, column, why in reasons]
    ones = (1,) * (len(index) - 1)
    cells = cells.reshape(ones + cells.shape)
    if not wanted.all():
        there = store.read_values(index)[PARTIALS].copy()
        there[..., columns, :, :, :] = cells
        cells = there
        codes = before.copy()
        codes[..., columns] = status
        status = codes
    return Outcome(Result({PARTIALS: cells}, status.reshape(before.shape)), reasons)


def folded(
    block: Block, reduce: Reduction, compute: Compute
) -> tuple[Cells, Codes, list[tuple[int, int, str]]]:
    """Return cells (L, T, rows, words), the worst status of each lam (L,), and reasons for failures."""
    rows = sum(len(REGISTRY[name].rows) for name in block.observables)
    shape = (block.lams.size, block.times.size)
    cells = fold.empty((rows, *shape), reduce.bins)
    worst = np.full(block.lams.size, Status.OK, dtype=np.uint8)
    reasons: list[tuple[int, int, str]] = []
    step = max(1, BATCH_BYTES // (8 * rows * shape[0] * shape[1]))
    for start, stop in pairwise([*range(0, block.seeds.size, step), block.seeds.size]):
        part = replace(block, seeds=block.seeds[start:stop])
        outcome = evaluate(part, np.full((stop - start, shape[0]), True), compute)
        status = outcome.result.status
        worst = np.maximum(worst, status.max(axis=0))
        ok = status == Status.OK
        for row, values in enumerate(_rows(outcome.result.values)):
            fold.fold(values, ok, cells[row], reduce.edges)
        reasons += [(start + row, column, why) for row, column, why in outcome.reasons]
    return np.moveaxis(cells, 0, 2), worst, reasons


def _rows(values: Values) -> list[NDArray[np.float64]]:
    """Return the values (S, L, T) of each row, of some observables one for each layer."""
    found = []
    for part in values.values():
        layers = np.moveaxis(part, -1, 0) if part.ndim == 4 else part[None]
        found += [np.ascontiguousarray(layer) for layer in layers]
    return found


def finish(place: Place, cell: tuple[int, ...]) -> bool:
    """Merge the blocks of a cell, one after the other along the seeds, and write its statistics.

    `cell` is the place in the grid without that along the seeds. Returns False where blocks are missing yet.
    """
    store = reopen(place)
    blocks = [(*cell[:-1], number, cell[-1]) for number in range(store.layout.grid[-2])]
    if any((store.read_status(index) == Status.PENDING).any() for index in blocks):
        return False
    total = np.ascontiguousarray(store.read_values(blocks[0])[PARTIALS])
    for index in blocks[1:]:
        fold.merge(total, np.ascontiguousarray(store.read_values(index)[PARTIALS]))
    values = _statistics(store, np.squeeze(total, axis=len(cell) - 1))
    there = {name: store.read_block(name, form, cell) for name, form in store.layout.statistics.items()}
    new = {
        name: form
        for name, form in store.layout.statistics.items()
        if not np.array_equal(values[name], there[name], equal_nan=True)
    }
    store.write_arrays(cell, values, new)
    return True


def _statistics(store: Store, cells: Cells) -> Values:
    """Return the arrays of statistics of merged cells (..., L, T, rows, words)."""
    spec = store.layout.spec
    assert spec.reduce is not None
    found: Values = {COUNT: fold.count(cells)[..., 0, 0]}
    first = 0
    for name in spec.observables:
        entry = REGISTRY[name]
        mine = cells[..., first : first + len(entry.rows), :]
        mine = mine if entry.dims else mine[..., 0, :]
        first += len(entry.rows)
        with np.errstate(over="ignore"):  # what does not fit float32 is inf
            found[name] = spec.reduce.evaluate(mine).astype(spec.dtype)
        if spec.reduce.histogram:
            found[f"{name}_histogram"] = fold.histogram(mine)
    return found
