"""Sweeps that keep statistics over seeds: each group folds its seeds, and blocks are merged in the end.

Both are exact (`fastlin.kernels.fold`), so the statistics depend neither on how seeds are cut into blocks nor
on who computed them when.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Status
from fastlin.kernels import exact_statistics as fold
from fastlin.observables import REGISTRY
from fastlin.sweeps.run.block import Result
from fastlin.sweeps.run.isolation import Compute, Outcome, evaluate
from fastlin.sweeps.spec.group import Group
from fastlin.sweeps.spec.reduction import Reduction
from fastlin.sweeps.store.counts import numbers_folded
from fastlin.sweeps.store.layout import COUNT, PARTIALS, folded_together
from fastlin.sweeps.store.lease import writing
from fastlin.sweeps.store.location import Location
from fastlin.sweeps.store.store import Codes, Store, Values, reopen

BATCH_BYTES = 2_000_000  # of values that are folded at a time, while they are in a core's cache
Cells = NDArray[np.int64]


def fold_group(group: Group, wanted: NDArray[np.bool_], compute: Compute, reduce: Reduction) -> Outcome:
    """Fold all seeds of a group for the lam that are wanted (1, L), in the dimensions of its chunks."""
    columns = np.flatnonzero(wanted)
    cells, worst, reasons = folded(replace(group, lams=group.lams[columns]), reduce, compute)
    status = np.full(wanted.shape, Status.PENDING, dtype=np.uint8)
    status[..., columns] = worst
    spread = {}
    for name, part in cells.items():
        spread[name] = np.zeros((*wanted.shape, *part.shape[1:]), dtype=np.int64)
        spread[name].reshape(-1, *part.shape[1:])[columns] = part
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


def finish(place: Location, cell: tuple[int, ...]) -> bool:
    """Write the statistics of a cell; return False if some of its blocks are not complete yet.

    `cell` is the place in the grid without that along the seeds.
    """
    store = reopen(place)
    statistics = _merged_statistics(store, cell)
    if statistics is None:
        return False
    with writing(place):
        store.write_statistics(cell, statistics)
    # A process that was suspended may have overwritten newer statistics: they are computed again.
    return True if store.current else finish(place, cell)


def is_finished(store: Store, cell: tuple[int, ...]) -> bool:
    """Return whether `finish` would write nothing."""
    statistics = _merged_statistics(store, cell)
    return statistics is None or store.has_statistics(cell, statistics)


def _merged_statistics(store: Store, cell: tuple[int, ...]) -> Values | None:
    """Merge the blocks of a cell, one after the other along the seeds; None if some are not complete."""
    blocks = [(*cell[:-1], number, cell[-1]) for number in range(store.layout.grid[-2])]
    if not all(store.is_complete(index) for index in blocks):
        return None
    total = _writable(store.read_values(blocks[0]))
    for index in blocks[1:]:
        for name, part in _writable(store.read_values(index)).items():
            fold.merge(total[name], part)
    cells = {name: np.squeeze(part, axis=len(cell) - 1) for name, part in total.items()}
    return _statistics(store, cells)


def _writable(values: Values) -> Values:
    """Return copies: what was read from bytes is read-only, of another type for compiled code."""
    return {name: np.array(part, order="C") for name, part in values.items()}


def _statistics(store: Store, cells: Values) -> Values:
    """Return the arrays of statistics of merged cells (..., L, T, rows, words) or (..., L, scales, words)."""
    spec = store.layout.spec
    assert spec.reduce is not None
    found: Values = {COUNT: numbers_folded(cells)}
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
