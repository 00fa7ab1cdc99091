"""The contribution of one store to a block of another: the points that both layouts have, and their values.

Merging reads each store in the blocks of the merged one (`fastlin.sweeps.run.merge`). Points are found by
their values on all axes, so that neither the order in which these are stored nor the shape of blocks has to
agree. `PointReader` reads stores of every point. `StatisticsReader` reads reduced stores, whose blocks hold
partial sums over seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Status
from fastlin.sweeps.spec.points import POINT, positions
from fastlin.sweeps.store import partials
from fastlin.sweeps.store.array_spec import ArraySpec, Values
from fastlin.sweeps.store.cell import read_cell
from fastlin.sweeps.store.layout import StoreLayout
from fastlin.sweeps.store.resume import Codes, is_bad, is_missing
from fastlin.sweeps.store.store import Store

Index = tuple[int, ...]
Places = NDArray[np.intp]
CACHED = 4  # blocks whose values are kept, because neighbouring blocks of the merged store need them too


@dataclass(frozen=True, eq=False)
class Contribution:
    """Points of one block of a merged store.

    Attributes
    ----------
    status : array of uint8
        Status of each point of the block, pending where a store does not have it.
    values : dict of str to array
        Their values. Those of pending points mean nothing.
    blocks : array of int64
        Number of blocks of seeds whose partial sums are in the values of each point; 0 in a store of every
        point.
    """

    status: Codes
    values: Values
    blocks: NDArray[np.int64]

    @classmethod
    def empty(cls, layout: StoreLayout, index: Index) -> Contribution:
        """Return a block whose points are all pending."""
        shape = _shape(layout.status, index)
        return cls(
            np.full(shape, Status.PENDING, np.uint8), _unset(layout.values, shape), np.zeros(shape, int)
        )

    def without_seeds(self) -> Contribution:
        """Return views of a block of a reduced store without the dimension of seeds, which has size 1."""
        axis = self.status.ndim - 2
        values = {name: np.squeeze(part, axis=axis) for name, part in self.values.items()}
        return Contribution(np.squeeze(self.status, axis=axis), values, np.squeeze(self.blocks, axis=axis))

    @property
    def done(self) -> NDArray[np.bool_]:
        """Mask of the points that are not pending."""
        return ~is_missing(self.status)


class PointReader:
    """A store of every point, read in the blocks of another layout.

    Parameters
    ----------
    store : Store
    layout : StoreLayout
        The layout of the merged store.
    """

    def __init__(self, store: Store, layout: StoreLayout) -> None:
        self.store, self.layout = store, layout
        self._values = lru_cache(maxsize=CACHED)(self._in_order_of_times)

    def read(self, index: Index) -> Contribution:
        """Return what the store has of one block of the merged store.

        Raises
        ------
        DamagedBlockError
            If a chunk of the store is damaged or missing.
        """
        found = Contribution.empty(self.layout, index)
        at = self._places(self.layout.status, index)
        for block, here, there in _overlaps(at, self.store.layout.status.chunk):
            status = self.store.checked_status(block)[there]
            if is_missing(status).all():
                continue
            found.status[here] = status
            for name, part in self._values(block).items():
                found.values[name][here] = part[there]
        return found

    def _places(self, form: ArraySpec, index: Index) -> list[Places]:
        """Return where the store has the values of a chunk of `form` on each axis, -1 where it has none."""
        return [self._axes[name][part] for name, part in zip(form.dims, form.region(index), strict=True)]

    @cached_property
    def _axes(self) -> dict[str, Places]:
        """Where the store has the values of each axis of the merged store, -1 where it has none."""
        return {
            name: positions(_axis(self.layout, name), _axis(self.store.layout, name))
            for name in (*self.layout.status.dims, "time")
            if name != "seed_block"
        }

    def _in_order_of_times(self, index: Index) -> Values:
        return self._in_order(self.store.read_values(index), self.store.layout.values)

    def _in_order(self, values: Values, forms: dict[str, ArraySpec]) -> Values:
        """Return values of the store with times in the order of the merged store."""
        times = self._axes["time"]
        if np.array_equal(times, np.arange(times.size)):
            return values
        return {
            name: part.take(times, axis=forms[name].dims.index("time"))
            if "time" in forms[name].dims
            else part
            for name, part in values.items()
        }


@dataclass(frozen=True, eq=False)
class _Sums:
    """One block of seeds of a cell, and how many blocks of seeds its partial sums hold.

    `blocks` is 0 where the sums are in an earlier block, are gone, or belong to blocks that are not complete.
    """

    status: Codes
    blocks: NDArray[np.int64]


class _Source(NamedTuple):
    """A block of seeds of a store: the index of its cell, its number along the seeds, and its sums."""

    cell_index: Index
    number: int
    sums: _Sums


class StatisticsReader(PointReader):
    """A reduced store, read in the blocks of another layout.

    A block of partial sums is of use if its seeds are those of one or several whole blocks of the merged
    store. Points whose sums are not, and points whose sums are lost, are left pending.
    """

    def __init__(self, store: Store, layout: StoreLayout) -> None:
        super().__init__(store, layout)
        self._sums = lru_cache(maxsize=CACHED)(self._sums_of_cell)
        self._dropped = lru_cache(maxsize=CACHED)(self._dropped_in_cell)

    def read(self, index: Index) -> Contribution:
        """Return what the store has of one block of the merged store: status and partial sums.

        Points whose sums were dropped have the status of complete ones, and no sums.

        Raises
        ------
        DamagedBlockError
            If a chunk of the store is damaged or missing.
        """
        found = Contribution.empty(self.layout, index)
        view = found.without_seeds()
        for cell_index, here, there in self._cells(_cell_of(index)):
            all_sums = self._sums(cell_index)
            for number, sums in enumerate(all_sums):
                self._add(view, index[-2], _Source(cell_index, number, sums), here, there)
            _put(view.status, here, self._dropped(cell_index)[there], all_sums[0].status[there])
        return found

    def dropped(self, cell_index: Index) -> tuple[NDArray[np.bool_], Values]:
        """Return a mask of the points of a cell that the store keeps no sums of, and their statistics.

        `cell_index` is that of the merged store.
        """
        shape = _shape(self.layout.status.without("seed_block"), cell_index)
        mask, values = np.zeros(shape, bool), _unset(self.layout.statistics, shape)
        for cell, here, there in self._cells(cell_index):
            mask[here] = self._dropped(cell)[there]
            if mask[here].any():
                stored = self._in_order(self.store.read_statistics(cell), self.store.layout.statistics)
                for name, part in stored.items():
                    values[name][here] = part[there]
        return mask, values

    def _cells(self, cell_index: Index) -> Iterator[tuple[Index, Any, Any]]:
        """Yield the cells of the store that have points of a cell of the merged one, with places in both."""
        form = self.layout.status.without("seed_block")
        return _overlaps(self._places(form, cell_index), self.store.layout.status.without("seed_block").chunk)

    def _add(self, found: Contribution, wanted: int, source: _Source, here: Any, there: Any) -> None:
        """Add the points of a block of seeds to what was found for the `wanted` one of the merged store."""
        cell_index, number, sums = source
        blocks, status = sums.blocks[there], sums.status[there]
        for count in np.unique(blocks[blocks > 0]).tolist():
            first, length = self._run(number, count)
            if not first <= wanted < first + length:
                continue
            # Where points are bad, each block of seeds must keep its own sums, because it may be retried.
            mask = (blocks == count) & (~is_bad(status) | (count == length == 1))
            _put(found.status, here, mask, status)
            if wanted == first and mask.any():
                _put(found.blocks, here, mask, np.full(mask.shape, length))
                for name, part in self._values(_block_of(cell_index, number)).items():
                    words = np.squeeze(part, axis=len(cell_index) - 1)[there]
                    _put(found.values[name], here, mask, partials.with_blocks(words, length))

    def _run(self, number: int, count: int) -> tuple[int, int]:
        """Return the first and the number of the blocks of the merged store that hold the seeds of some.

        These are `count` blocks of the store from `number` on. The length is 0 if their seeds fill no whole
        blocks in a row.
        """
        seeds = np.concatenate([self._seeds(self.store.layout, number + i) for i in range(count)])
        of_blocks = np.unique(self._seed_blocks[np.flatnonzero(np.isin(self.layout.stored.seeds, seeds))])
        size = sum(self._seeds(self.layout, int(block)).size for block in of_blocks)
        in_a_row = of_blocks.size and of_blocks[-1] - of_blocks[0] + 1 == of_blocks.size
        return (int(of_blocks[0]), int(of_blocks.size)) if in_a_row and size == seeds.size else (0, 0)

    @cached_property
    def _seed_blocks(self) -> Places:
        """The number of the block of each seed of the merged store, in the order stored."""
        sizes = [self._seeds(self.layout, block).size for block in range(self.layout.grid[-2])]
        return np.repeat(np.arange(len(sizes)), sizes)

    @staticmethod
    def _seeds(layout: StoreLayout, block: int) -> NDArray[np.int64]:
        return layout.block_seeds((*(0,) * (len(layout.grid) - 2), block, 0))

    def _sums_of_cell(self, cell_index: Index) -> list[_Sums]:
        """Return all blocks of seeds of a cell of the store."""
        axis = len(cell_index) - 1
        indices = self.store.layout.seed_blocks(cell_index)
        status = [np.squeeze(self.store.checked_status(index), axis=axis) for index in indices]
        covered, found = np.zeros(status[0].shape, int), []
        for number, index in enumerate(indices):
            stored = [
                np.squeeze(partials.blocks_in(part), axis=axis) for part in self._values(index).values()
            ]
            rank = len(cell_index)
            blocks = np.max([part.max(axis=tuple(range(rank, part.ndim))) for part in stored], axis=0)
            blocks = np.where(covered <= number, blocks, 0)
            covered = np.where(blocks > 0, number + blocks, covered)
            for count in np.unique(blocks[blocks > 0]).tolist():
                pending = np.any([is_missing(part) for part in status[number : number + count]], axis=0)
                blocks[(blocks == count) & pending] = 0
            found.append(_Sums(status[number], blocks))
        return found

    def _dropped_in_cell(self, cell_index: Index) -> NDArray[np.bool_]:
        """Return a mask of the points of a cell of the store whose statistics are all that it keeps."""
        cell = read_cell(self.store, cell_index)
        if cell is None:
            return np.zeros(_shape(self.store.layout.status.without("seed_block"), cell_index), bool)
        return np.squeeze(cell.dropped, axis=len(cell_index) - 1)


def reader_of(store: Store, layout: StoreLayout) -> PointReader:
    """Return a reader of a store in the blocks of a layout."""
    return (StatisticsReader if layout.statistics else PointReader)(store, layout)


def _put(array: NDArray[Any], here: Any, mask: NDArray[np.bool_], values: NDArray[Any]) -> None:
    """Set those points of a part of an array that a mask chooses."""
    part = array[here]
    part[mask] = values[mask]
    array[here] = part


def _cell_of(index: Index) -> Index:
    return (*index[:-2], index[-1])


def _block_of(cell_index: Index, number: int) -> Index:
    return (*cell_index[:-1], number, cell_index[-1])


def _shape(form: ArraySpec, index: Index) -> tuple[int, ...]:
    """Return the numbers of values of a block that lie in an array."""
    return tuple(part.stop - part.start for part in form.region(index))


def _unset(forms: dict[str, ArraySpec], shape: tuple[int, ...]) -> Values:
    """Return arrays without values, over points of this shape."""
    return {
        name: np.full((*shape, *form.shape[len(shape) :]), form.fill, dtype=form.dtype)
        for name, form in forms.items()
    }


def _axis(layout: StoreLayout, name: str) -> list[NDArray[Any]]:
    """Return the values of an axis in the order stored; one value if the store does not have the axis.

    Those of points are the columns of their table.
    """
    if name == POINT and layout.spec.table:
        return [layout.axes[column][1] for column in layout.spec.table.columns]
    dims, values = layout.axes.get(name, ((), np.zeros(0)))
    return [values if dims == (name,) else np.zeros(1)]  # seeds may be a column


def _overlaps(at: Sequence[Places], steps: Sequence[int]) -> Iterator[tuple[Index, Any, Any]]:
    """Yield each block of a store that has points of a region, with their places in the region and in it.

    `at` has, for each dimension, the places of the region's values in the store, or -1.
    """
    of_dims = []
    for places, step in zip(at, steps, strict=True):
        here = np.flatnonzero(places >= 0)
        blocks, there = np.divmod(places[here], step)
        of_dims.append([(int(n), here[blocks == n], there[blocks == n]) for n in np.unique(blocks)])
    for chosen in product(*of_dims):
        yield (
            tuple(number for number, _, _ in chosen),
            _indexed([here for _, here, _ in chosen]),
            _indexed([there for _, _, there in chosen]),
        )


def _indexed(places: list[Places]) -> Any:
    """Return the index of a product of places: slices if all are runs, which numpy copies faster."""
    if all(part[-1] - part[0] + 1 == part.size and (np.diff(part) == 1).all() for part in places):
        return tuple(slice(int(part[0]), int(part[-1]) + 1) for part in places)
    return np.ix_(*places)
