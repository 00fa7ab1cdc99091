"""The points of a store: which groups a region of `status` holds, and the coordinates of the points.

They are the product of axes (`ProductPoints`) or the rows of a table (`TablePoints`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.sweeps.spec.group import ALL_SHARED, Group, Own, PlacedGroup, Position, Variant
from fastlin.sweeps.spec.points import POINT, SIZES, PointTable
from fastlin.sweeps.spec.spec import Spec

Region = tuple[slice, ...]
Coordinates = dict[str, tuple[tuple[str, ...], NDArray[Any]]]  # dimensions and values
# Columns that a kernel takes for each network.
_OF_EACH = ("seed", "init_scale", "kappa", "rate_ratio")


class Kinds(NamedTuple):
    """The kinds of rows of a table, by all that their estimated time depends on beside the architecture."""

    rows: NDArray[np.intp]  # a row of each kind
    codes: NDArray[np.intp]  # the kind of each row


class PointSet(ABC):
    """The points of a store.

    Parameters
    ----------
    specs : tuple of Spec
        Those that the store was made and extended from, oldest first.
    stored : Spec
        The last one, with its axes in stored order.
    dtype : str
        Type of the numbers that are computed of each group.
    """

    architecture_axis: ClassVar[int]  # the dimension of `status` along which architectures differ
    kernel_dims: ClassVar[tuple[str, ...]]  # those along which kernels differ

    def __init__(self, specs: tuple[Spec, ...], stored: Spec, dtype: str) -> None:
        self._specs, self._spec, self._dtype = specs, stored, dtype

    @property
    @abstractmethod
    def dims(self) -> dict[str, int]:
        """Dimensions of `status` and their sizes, with "seed" for the one before the last."""

    @property
    @abstractmethod
    def implied(self) -> frozenset[str]:
        """Dimensions of size 1 that the arrays of the store lack."""

    @property
    @abstractmethod
    def coordinates(self) -> Coordinates:
        """Coordinates of the points, except those of seeds."""

    @property
    @abstractmethod
    def architecture_codes(self) -> NDArray[np.int64]:
        """The number of the architecture at each place along `architecture_axis`."""

    @property
    @abstractmethod
    def columns_together(self) -> int:
        """Number of columns whose time is estimated together: all lam of a product, or one row."""

    @abstractmethod
    def of_solver(self, name: str) -> Any:
        """Return the index of the points of a solver in an array with the dimensions of `status`."""

    @abstractmethod
    def groups(self, region: Region, seeds: NDArray[np.int64]) -> Iterator[PlacedGroup]:
        """Yield the groups of a region of `status`, with these seeds."""

    @abstractmethod
    def group(self, region: Region, position: Position, seeds: NDArray[np.int64]) -> Group:
        """Return the group at a position in a region."""

    @abstractmethod
    def without_seeds(self, position: Position) -> Position:
        """Return a position in an array that lacks the dimension of seeds."""

    @abstractmethod
    def where(self, region: Region, position: Position, column: int) -> dict[str, Any]:
        """Return the values of the points of one column of a group, by the names of axes."""

    @abstractmethod
    def variants(self, regions: Sequence[Region], seeds: NDArray[np.int64]) -> dict[Variant, Group]:
        """Return the variants of kernels in some regions, each with a group that has it."""

    def _group(
        self,
        architecture: int,
        chosen: Mapping[str, Any],
        seeds: NDArray[np.int64],
        lams: NDArray[np.float64],
        own: Own = ALL_SHARED,
    ) -> Group:
        spec = self._spec
        return Group(
            architecture=spec.architectures[architecture],
            task_kind=spec.task.kind.name,
            problem=spec.problem(chosen),
            solver=chosen["solver"],
            settings=spec.settings(chosen),
            rate_ratio=chosen["rate_ratio"],
            seeds=seeds,
            lams=lams,
            times=spec.times,
            observables=spec.observables,
            fraction=spec.fraction,
            dtype=self._dtype,
            own=own,
        )


class ProductPoints(PointSet):
    """The product of axes. A group is at one place of all dimensions before seeds and lam."""

    architecture_axis = 0
    kernel_dims = ("architecture", "solver", "kappa")

    @cached_property
    def dims(self) -> dict[str, int]:
        """Dimensions of `status` and their sizes. lam is one of them also where it is no axis."""
        return self._spec.point_dims | {"lam": self._spec.lams.size}

    @property
    def implied(self) -> frozenset[str]:
        """The dimension of lam where starts are not balanced."""
        return frozenset() if self._spec.balance else frozenset({"lam"})

    @property
    def coordinates(self) -> Coordinates:
        """The axes, and the sizes of architectures."""
        spec = self._spec
        shapes = spec.architectures
        values: dict[str, Any] = {"architecture": np.array([str(shape) for shape in shapes])}
        values |= {name: np.array([getattr(shape, name) for shape in shapes]) for name in SIZES}
        values["init_scale"] = spec.init_scales
        values |= {name: axis for name, axis in spec.optional_axes.items() if name in spec.optional_dims}
        values |= {"lam": spec.lams} if spec.balance else {}
        dims = dict.fromkeys(SIZES, "architecture")
        return {name: ((dims.get(name, name),), axis) for name, axis in values.items()}

    @property
    def architecture_codes(self) -> NDArray[np.int64]:
        """The number of each architecture."""
        return np.arange(len(self._spec.architectures))

    @property
    def columns_together(self) -> int:
        """Number of lam."""
        return self._spec.lams.size

    def of_solver(self, name: str) -> Any:
        """Return the index along the dimension of solvers, if there is one."""
        dims = list(self.dims)
        if "solver" not in dims:
            return ...
        return (*(slice(None),) * dims.index("solver"), self._spec.solvers.index(name))

    def groups(self, region: Region, seeds: NDArray[np.int64]) -> Iterator[PlacedGroup]:
        """Yield the groups of a region, one at each place before seeds and lam."""
        for position in np.ndindex(*(part.stop - part.start for part in region[:-2])):
            yield PlacedGroup(position, self.group(region, position, seeds))

    def group(self, region: Region, position: Position, seeds: NDArray[np.int64]) -> Group:
        """Return the group at a position in a region."""
        at = self._indices(region, position)
        lams = self._spec.lams[region[-1]]
        return self._group(at["architecture"], self._spec.values_at(at), seeds, lams)

    def without_seeds(self, position: Position) -> Position:
        """Return the position, which has no seeds."""
        return position

    def where(self, region: Region, position: Position, column: int) -> dict[str, Any]:
        """Return the values of the points of one lam of a group."""
        spec, at = self._spec, self._indices(region, position)
        point: dict[str, Any] = {"architecture": str(spec.architectures[at["architecture"]])}
        if spec.balance:
            point["lam"] = float(spec.lams[region[-1]][column])
        chosen = spec.values_at(at)
        names = ("init_scale", *spec.optional_axes)
        return point | {name: chosen[name] for name in names if name in self.dims}

    def variants(self, regions: Sequence[Region], seeds: NDArray[np.int64]) -> dict[Variant, Group]:
        """Return the variants of kernels in some regions."""
        groups: dict[Variant, Group] = {}
        for region in regions:
            for _, group in self.groups(region, seeds):
                groups.setdefault(group.variant, group)
        return groups

    def _indices(self, region: Region, position: Position) -> dict[str, Any]:
        """Return the indices on the axes before seeds and lam of a position in a region."""
        return {name: part.start + i for name, part, i in zip(self.dims, region, position, strict=False)}


@dataclass(frozen=True, eq=False)
class SortedTable:
    """A table in the order stored: rows of one kernel call stand together.

    Attributes
    ----------
    table : PointTable
    ends : tuple of int
        The numbers of rows that the store had, oldest first. Rows between two of them are sorted among
        themselves, so that a store grows without moving a number.
    apart : tuple of str
        Columns that differ between the rows of a group.
    """

    table: PointTable
    ends: tuple[int, ...]
    apart: tuple[str, ...]

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The number in the table of each row."""
        columns, first, parts = self.table.columns, 0, []
        rest = [
            columns[name] for name in ("seed", "init_scale", "lam", "kappa", "rate_ratio") if name in columns
        ]
        keys = [*self._shared(slice(None)), *rest][::-1]
        for last in self.ends:
            parts.append(first + np.lexsort([key[first:last] for key in keys]))
            first = last
        return np.concatenate(parts)

    def _shared(self, rows: Any) -> list[NDArray[Any]]:
        """Return the values of some rows that all rows of a group have in common."""
        columns = self.table.columns
        names = [name for name in columns if name not in (*SIZES, *self.apart)]
        keys = [self.table.architecture_codes[rows], *(columns[name][rows] for name in names)]
        return keys if "kappa" not in columns else [*keys, columns["kappa"][rows] > 0.0]

    @cached_property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns."""
        return {name: values[self.rows] for name, values in self.table.columns.items()}

    @cached_property
    def architecture_codes(self) -> NDArray[np.int64]:
        """The number of the architecture of each row."""
        return self.table.architecture_codes[self.rows]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The first row of each run of rows that share a kernel call."""
        changes = np.any([key[1:] != key[:-1] for key in self._shared(self.rows)], axis=0)
        return np.concatenate([[0], 1 + np.flatnonzero(changes)])

    @cached_property
    def new_draws(self) -> NDArray[np.bool_]:
        """Whether a network is drawn for each row. Equal rows but for lam share it."""
        new = np.zeros(self.table.num, dtype=bool)
        new[self.starts] = True
        for name in ("seed", "init_scale"):
            if name in self.columns:
                new[1:] |= np.diff(self.columns[name]) != 0
        return new

    @cached_property
    def kinds(self) -> Kinds:
        """The kinds of rows: by solver, learning rate and whether kappa is above 0."""
        keys = [self.columns[name] for name in ("solver", "learning_rate") if name in self.columns]
        keys += [self.columns["kappa"] > 0.0] if "kappa" in self.columns else []
        codes = np.zeros(self.table.num, dtype=np.intp)
        for key in keys:
            values, part = np.unique(key, return_inverse=True)
            codes = codes * len(values) + part
        _, rows, codes = np.unique(codes, return_index=True, return_inverse=True)
        return Kinds(rows, codes)


@lru_cache(maxsize=2)
def _sorted(table: PointTable, ends: tuple[int, ...], apart: tuple[str, ...]) -> SortedTable:
    """Return a sorted table. A run makes several layouts of one table, and a million rows take seconds."""
    return SortedTable(table, ends, apart)


class TablePoints(PointSet):
    """The rows of a table. A group is a run of rows of one architecture, solver, learning rate and so on."""

    architecture_axis = 1
    kernel_dims = (POINT,)

    @cached_property
    def sorted(self) -> SortedTable:
        """The table in the order stored."""
        spec, tables = self._spec, [each.table for each in self._specs if each.table]
        each = ("seed", "init_scale", "lam")
        # Decay, noise and inputs that are not whitened are those of all networks of a call.
        together = spec.noisy or any(spec.decay) or not spec.white
        apart = each if together else (*each, "kappa", "rate_ratio")
        return _sorted(tables[-1], tuple(table.num for table in tables), apart)

    @property
    def dims(self) -> dict[str, int]:
        """Seeds and rows. There is one seed where seeds are a column."""
        table = self.sorted.table
        return {"seed": 1 if "seed" in table else self._spec.seeds.size, POINT: table.num}

    @property
    def implied(self) -> frozenset[str]:
        """The dimension of seeds where they are a column."""
        return frozenset({"seed"}) if "seed" in self._spec.columns else frozenset()

    @property
    def coordinates(self) -> Coordinates:
        """The number of each row in the table, and its values."""
        values = {POINT: self.sorted.rows} | self.sorted.columns
        return {name: ((POINT,), part) for name, part in values.items()}

    @property
    def architecture_codes(self) -> NDArray[np.int64]:
        """The number of the architecture of each row."""
        return self.sorted.architecture_codes

    def chosen(self, row: int) -> dict[str, Any]:
        """Return init_scale and the values on the optional axes of a row, in the order stored."""
        columns = self.sorted.columns
        values = {name: part[row].item() for name, part in columns.items() if name not in SIZES}
        return self._spec.values_at({}) | values

    def _runs(self, first: int, last: int) -> Iterator[slice]:
        starts = self.sorted.starts
        inside = starts[np.searchsorted(starts, first, "right") : np.searchsorted(starts, last)]
        edges = [first, *inside.tolist(), last]
        yield from map(slice, edges[:-1], edges[1:])

    columns_together = 1

    def of_solver(self, name: str) -> Any:
        """Return the mask of its rows."""
        if "solver" not in self.sorted.columns:
            return ...
        return (slice(None), self.sorted.columns["solver"] == name)

    def groups(self, region: Region, seeds: NDArray[np.int64]) -> Iterator[PlacedGroup]:
        """Yield the runs of rows in a region."""
        first = region[-1].start
        for run in self._runs(first, region[-1].stop):
            position = (slice(None), slice(run.start - first, run.stop - first))
            yield PlacedGroup(position, self.run(run, seeds))

    def group(self, region: Region, position: Position, seeds: NDArray[np.int64]) -> Group:
        """Return the group of the rows at a position in a region."""
        part, first = position[-1], region[-1].start
        assert isinstance(part, slice)
        return self.run(slice(first + part.start, first + part.stop), seeds)

    def without_seeds(self, position: Position) -> Position:
        """Return the slice of rows."""
        return position[1:]

    def where(self, region: Region, position: Position, column: int) -> dict[str, Any]:
        """Return the row of the table, by its number and its values."""
        inside = position[-1].start if position and isinstance(position[-1], slice) else 0
        at = region[-1].start + inside + column
        architecture = str(self._spec.architectures[self.architecture_codes[at]])
        columns = self.sorted.columns
        values = {name: part[at].item() for name, part in columns.items() if name not in SIZES}
        return {POINT: int(self.sorted.rows[at]), "architecture": architecture} | values

    def variants(self, regions: Sequence[Region], seeds: NDArray[np.int64]) -> dict[Variant, Group]:
        """Return the variants of kernels in some regions, of which each run is looked at once."""
        groups: dict[Variant, Group] = {}
        starts, runs = self.sorted.starts, set()
        for first, last in ((region[-1].start, region[-1].stop) for region in regions):
            runs |= set(range(np.searchsorted(starts, first, "right") - 1, np.searchsorted(starts, last)))
        for first in starts[sorted(runs)].tolist():
            group = self.run(slice(first, first + 1), seeds)
            groups.setdefault(group.variant, group)
        return groups

    def run(self, rows: slice, seeds: NDArray[np.int64]) -> Group:
        """Return the group of some rows, in the order stored."""
        spec, columns, first = self._spec, self.sorted.columns, rows.start
        own: dict[str, Any] = {}
        for name in _OF_EACH:
            if name in columns:
                part = columns[name][rows]
                own[f"{name}s"] = None if (part == part[0]).all() else part
        if "seed" in columns:
            seeds = columns["seed"][first : first + 1]
        lams = columns["lam"][rows] if "lam" in columns else np.repeat(spec.lams, rows.stop - first)
        code = int(self.architecture_codes[first])
        return self._group(code, self.chosen(first), seeds, lams, Own(**own))


def point_set(specs: tuple[Spec, ...], stored: Spec, dtype: str) -> PointSet:
    """Return the points of a store."""
    return (TablePoints if stored.table else ProductPoints)(specs, stored, dtype)
