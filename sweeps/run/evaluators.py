"""The evaluation of one group of a block: every point, or partial sums over the seeds of each lam.

A store that holds every point has the first evaluator, a reduced one the second. Partial sums are exact
(`fastlin.kernels.exact_statistics`), so they do not depend on the order in which seeds are folded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Status
from fastlin.kernels import exact_statistics as fold
from fastlin.observables.registry import REGISTRY
from fastlin.sweeps.run import isolation
from fastlin.sweeps.run.block import Result
from fastlin.sweeps.run.block import compute as compute_group
from fastlin.sweeps.run.isolation import Compute, Outcome
from fastlin.sweeps.run.reduce import evaluated
from fastlin.sweeps.spec.group import Group, Position
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import partials
from fastlin.sweeps.store.array_spec import Values
from fastlin.sweeps.store.partials import PARTIALS, Cells, folded_together, row_count
from fastlin.sweeps.store.resume import Codes
from fastlin.sweeps.store.store import Store

SAMPLE_SEEDS = 2  # seeds of a group that are computed again to compare
BATCH_BYTES = 2_000_000  # of values that are computed and folded at a time, so that they stay in the cache


class PointEvaluator:
    """The evaluator of a store that holds every point."""

    def evaluate(self, group: Group, wanted: NDArray[np.bool_], compute: Compute) -> Outcome:
        """Compute the wanted points (S, L) of a group."""
        return isolation.evaluate(group, wanted, compute)

    def rehearse(self, group: Group) -> Values:
        """Compute a group to measure the time; return the values, which take time to write."""
        return compute_group(group).values

    def reproduces(self, store: Store, index: tuple[int, ...], position: Position, stored: Values) -> bool:
        """Return whether the points of a few seeds of a group come out as its stored values."""
        group = store.layout.group(index, position)
        part = compute_group(group.part(slice(SAMPLE_SEEDS), slice(None))).values
        seen = {name: values[:SAMPLE_SEEDS] for name, values in stored.items()}
        return all(np.array_equal(part[name], seen[name], equal_nan=True) for name in part)

    def seeds_at_once(self, seeds: int, bytes_per_seed: int) -> int:
        """Return of how many seeds of a group the values are in memory at the same time: of all."""
        return seeds


@dataclass(frozen=True)
class StatisticsEvaluator:
    """The evaluator of a reduced store, which folds the seeds of a block into partial sums."""

    spec: Spec

    def evaluate(self, group: Group, wanted: NDArray[np.bool_], compute: Compute) -> Outcome:
        """Fold all seeds of a group for the wanted lam (1, L). Return the words to store."""
        columns = np.flatnonzero(wanted)
        cells, worst, reasons = self._folded(group.part(slice(None), columns), compute)
        status = np.full(wanted.shape, Status.PENDING, dtype=np.uint8)
        status[..., columns] = worst
        packed = {}
        for name, part in cells.items():
            words = partials.pack(part, blocks=1)
            packed[name] = np.zeros((*wanted.shape, *words.shape[1:]), dtype=words.dtype)
            packed[name].reshape(-1, *words.shape[1:])[columns] = words
        reasons = [(row, int(columns[column]), why) for row, column, why in reasons]
        return Outcome(Result(packed, status), reasons)

    def rehearse(self, group: Group) -> Values:
        """Fold a group to measure the time; return nothing, because partial sums are few."""
        self._folded(group, compute_group)
        return {}

    def reproduces(self, store: Store, index: tuple[int, ...], position: Position, stored: Values) -> bool:
        """Return whether the partial sums of a group, or the statistics made of them, come out the same."""
        if any((partials.blocks_in(part) != 1).any() for part in stored.values()):  # merged, or dropped
            return self._reproduces_statistics(store, index, position)
        group = store.layout.group(index, position)
        values = self.evaluate(group, np.full((1, group.lams.size), True), compute_group).result.values
        return all(np.array_equal(values[name], stored[name]) for name in values)

    def _reproduces_statistics(self, store: Store, index: tuple[int, ...], position: Position) -> bool:
        """Return whether the statistics of a group over all seeds come out the same.

        So many lam are tried that it takes no longer than a block.
        """
        cell_index = (*index[:-2], index[-1])
        blocks = store.layout.seed_blocks(cell_index)
        if not all(store.is_complete(block) for block in blocks):
            return True
        groups = [store.layout.group(block, position) for block in blocks]
        seeds = np.concatenate([group.seeds for group in groups])
        lams = max(1, groups[0].lams.size // len(blocks))
        tried = replace(groups[0], seeds=seeds).part(slice(None), slice(lams))
        cells, *_ = self._folded(tried, compute_group)
        statistics, stored = evaluated(self.spec, cells), store.read_statistics(cell_index)
        at = store.layout.points.without_seeds(position)
        return all(
            np.array_equal(part, stored[name][at][:lams], equal_nan=part.dtype.kind == "f")
            for name, part in statistics.items()
        )

    def seeds_at_once(self, seeds: int, bytes_per_seed: int) -> int:
        """Return the number of seeds whose values are in memory at the same time: those of a batch."""
        return max(1, min(BATCH_BYTES // bytes_per_seed, seeds))

    def _folded(
        self, group: Group, compute: Compute
    ) -> tuple[dict[str, Cells], Codes, list[tuple[int, int, str]]]:
        """Return cells of partials, the worst status of each lam (L,), and reasons for failures.

        Cells are (L, T, rows, words), of time scales (L, scales, words).
        """
        lams, reduction = group.lams.size, self.spec.reduction
        arrays = folded_together(group.observables)
        shapes = {PARTIALS: (lams, group.times.size)}
        cells = {
            name: fold.empty((row_count(members), *shapes.get(name, (lams, 1))), reduction.bins)
            for name, members in arrays.items()
        }
        worst = np.full(lams, Status.OK, dtype=np.uint8)
        reasons: list[tuple[int, int, str]] = []
        numbers = sum(math.prod(part.shape[:-1]) for part in cells.values())
        step = self.seeds_at_once(group.seeds.size, 8 * numbers)
        for start, stop in pairwise([*range(0, group.seeds.size, step), group.seeds.size]):
            part = group.part(slice(start, stop), slice(None))
            outcome = isolation.evaluate(part, np.full((stop - start, lams), True), compute)
            status = outcome.result.status
            worst = np.maximum(worst, status.max(axis=0))
            ok = status == Status.OK
            for name, members in arrays.items():
                for row, values in enumerate(_by_row(outcome.result.values, members)):
                    fold.fold(values, ok, cells[name][row], reduction.edges)
            reasons += [(start + row, column, why) for row, column, why in outcome.reasons]
        moved = {name: np.moveaxis(part, 0, 2) for name, part in cells.items()}
        by_array = {name: part if name == PARTIALS else part[:, 0] for name, part in moved.items()}
        return by_array, worst, reasons


def _by_row(values: Values, names: list[str]) -> list[NDArray[np.float64]]:
    """Return the values (S, L, T) of each row, one for each number of an observable."""
    rows: list[NDArray[np.float64]] = []
    for name in names:
        part = values[name] if REGISTRY[name].over_time else values[name][..., None]
        numbers = np.moveaxis(part.reshape(*part.shape[:3], -1), -1, 0)
        rows += [np.ascontiguousarray(row) for row in numbers]
    return rows


Evaluator = PointEvaluator | StatisticsEvaluator


def evaluator_of(spec: Spec) -> Evaluator:
    """Return the evaluator of the groups of a sweep."""
    return StatisticsEvaluator(spec) if spec.reduce else PointEvaluator()
