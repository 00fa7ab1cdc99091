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


def fold_block(block: Block, wanted: NDArray[np.bool_], compute: Compute, reduce: Reduction) -> Outcome:
    """Fold all seeds of a block for the lam that are wanted, in the dimensions of its chunks."""
    columns = np.flatnonzero(wanted)
    cells, worst, reasons = folded(replace(block, lams=block.lams[columns]), reduce, compute)
    spread = np.zeros((*wanted.shape, *cells.shape[1:]), dtype=np.int64)
    status = np.full(wanted.shape, Status.PENDING, dtype=np.uint8)
    spread[..., columns, :, :, :], status[..., columns] = cells, worst
    reasons = [(row, int(columns[column]), why) for row, column, why in reasons]
    return Outcome(Result({PARTIALS: spread}, status), reasons)


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
    # Copies: what was read from bytes is read-only, of another type for compiled code.
    total = np.array(store.read_values(blocks[0])[PARTIALS], order="C")
    for index in blocks[1:]:
        fold.merge(total, np.array(store.read_values(index)[PARTIALS], order="C"))
    store.write_statistics(cell, _statistics(store, np.squeeze(total, axis=len(cell) - 1)))
    # What was written over newer statistics, by a process that had slept, is made anew.
    return True if store.current else finish(place, cell)


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
