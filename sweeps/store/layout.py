"""The geometry of a store: its arrays, their dimensions and chunks, and the points of each block.

A block is one chunk of every array. Chunks span several architectures, init_scales, solvers and learning
rates where one alone is too small to be worth a file. A chunk at the end of an axis is filled up with the
fill value. Points that the axis gains later inside a chunk that exists therefore read as pending.

The layout is a function of the shape of a block and of the specs that the store was made and extended from.
The attributes of a store hold both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.dynamics import TIME_ATTRIBUTES
from fastlin.kernels import Status
from fastlin.kernels import exact_statistics as fold
from fastlin.observables import REGISTRY
from fastlin.sweeps.spec.extension import AXES, arranged
from fastlin.sweeps.spec.group import Block, Group, PlacedGroup
from fastlin.sweeps.spec.spec import Spec

T = TypeVar("T")
SIZES = ("n_i", "n_h", "n_o")
# Separator in the keys of chunks. With "/" every block would make its own folders and take twice the time.
SEPARATOR: Final = "."
STATUS = "status"
# Arrays of partial sums over seeds: of observables over time, and of time scales.
PARTIALS, SCALE_PARTIALS = "partials", "scale_partials"
COUNT = "count"
STATUS_ATTRIBUTES: dict[str, Any] = {
    "long_name": "status of each point; 0 until its block is complete",
    "flag_values": [int(status) for status in Status],
    "flag_meanings": " ".join(status.name.lower() for status in Status),
}
AXIS_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "architecture": {"long_name": "sizes n_i-n_h-n_o of the architecture"},
    "n_i": {"long_name": "number of inputs", "units": "1"},
    "n_h": {"long_name": "number of hidden units", "units": "1"},
    "n_o": {"long_name": "number of outputs", "units": "1"},
    "init_scale": {"long_name": "scale of the weights before balancing", "units": "1"},
    "solver": {"long_name": "closed form (exact) or gradient descent"},
    "learning_rate": {"long_name": "learning rate of gradient descent", "units": "1"},
    "seed": {"long_name": "seed of task and initialisation"},
    "seed_block": {"long_name": "first of the seeds, in the order stored, that are folded together"},
    "lam": {"long_name": "relative scale of the layers, W2^T W2 - W1 W1^T = lam I", "units": "1"},
    "layer": {"long_name": "layer of weights"},
    "statistic": {"long_name": "statistic over the seeds that are ok"},
    "bin_left": {"long_name": "left edge of the bins of a histogram", "units": "1"},
    "bin_right": {"long_name": "right edge of the bins of a histogram", "units": "1"},
    "time": {
        **TIME_ATTRIBUTES,
        "comment": "gradient descent is recorded at the nearest whole step, round(time / learning_rate)",
    },
}


class BlockShape(NamedTuple):
    """Number of values of each axis in a block, by the fields of a spec. It is 1 where there is no axis."""

    architectures: int = 1
    init_scales: int = 1
    solvers: int = 1
    learning_rates: int = 1
    seeds: int = 1
    lams: int = 1
    times: int = 1


@dataclass(frozen=True)
class ArraySpec:
    """One array of a store."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: str
    fill: Any
    attributes: dict[str, Any]
    compressed: bool = False  # with zstd, the last dimension stored first
    transient: bool = False  # whether a chunk of a complete block may have been deleted since

    def key(self, name: str, index: tuple[int, ...]) -> str:
        """Return where a chunk is stored."""
        return f"{name}/{SEPARATOR.join(['c', *map(str, index)])}"

    def region(self, index: tuple[int, ...]) -> tuple[slice, ...]:
        """Return the part of the array that a chunk holds."""
        return tuple(
            slice(i * step, min((i + 1) * step, size))
            for i, step, size in zip(index, self.chunk, self.shape, strict=True)
        )

    @property
    def chunk_bytes(self) -> int:
        """Size of one chunk before compression. A chunk is stored whole."""
        return math.prod(self.chunk) * np.dtype(self.dtype).itemsize

    @property
    def chunk_count(self) -> int:
        """Number of chunks."""
        return math.prod(math.ceil(size / step) for size, step in zip(self.shape, self.chunk, strict=True))


@dataclass(frozen=True, eq=False)
class StoreLayout:
    """The layout of a store: the specs that it was made and extended from, oldest first, and its blocks."""

    specs: tuple[Spec, ...]
    block_shape: BlockShape
    compacted: bool = False  # whether the partial sums over the seeds were dropped for good

    @property
    def spec(self) -> Spec:
        """The spec of all that the store holds."""
        return self.specs[-1]

    @cached_property
    def stored(self) -> Spec:
        """The spec of all that the store holds, with axes in the order stored."""
        return arranged(self.specs)

    @cached_property
    def dims(self) -> dict[str, int]:
        """Dimensions of `status` and their sizes."""
        sizes = self.spec.point_dims
        if self.spec.reduce:
            return {("seed_block" if name == "seed" else name): size for name, size in sizes.items()} | {
                "seed_block": len(self._seed_blocks)
            }
        return sizes

    @cached_property
    def _seed_blocks(self) -> list[slice]:
        """Slices of seeds that are reduced together. New seeds start new blocks: none is written twice."""
        blocks, first = [], 0
        for count in range(1, len(self.specs) + 1):
            last = arranged(self.specs[:count]).seeds.size
            starts = range(first, last, self.block_shape.seeds)
            blocks += [slice(start, min(start + self.block_shape.seeds, last)) for start in starts]
            first = last
        return blocks

    @cached_property
    def status(self) -> ArraySpec:
        """The array of commit markers."""
        sizes = {AXES[field]: size for field, size in self.block_shape._asdict().items()} | {"seed_block": 1}
        return ArraySpec(
            tuple(self.dims),
            tuple(self.dims.values()),
            tuple(sizes[name] for name in self.dims),
            "uint8",
            int(Status.PENDING),
            STATUS_ATTRIBUTES,
        )

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """Number of blocks along each dimension of `status`."""
        return tuple(
            math.ceil(size / step) for size, step in zip(self.status.shape, self.status.chunk, strict=True)
        )

    @property
    def block_count(self) -> int:
        """Number of blocks."""
        return math.prod(self.grid)

    @property
    def time_chunks(self) -> int:
        """Number of chunks along time: one, and more after time has grown."""
        return math.ceil(self.spec.times.size / self.block_shape.times)

    @property
    def cells(self) -> Iterator[tuple[int, ...]]:
        """Indices of the chunks of statistics: those of the grid without the dimension of seeds."""
        *others, _, lams = self.grid
        return np.ndindex(*others, lams)

    def seed_blocks(self, cell: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the places in the grid of the blocks whose seeds are in a chunk of statistics."""
        return [(*cell[:-1], number, cell[-1]) for number in range(self.grid[-2])]

    def index(self, number: int) -> tuple[int, ...]:
        """Return the index in the grid of a block, given its number."""
        return tuple(int(i) for i in np.unravel_index(number, self.grid))

    def number(self, index: tuple[int, ...]) -> int:
        """Return the number of a block, given its index in the grid."""
        return int(np.ravel_multi_index(index, self.grid))

    def block(self, index: tuple[int, ...]) -> Block:
        """Return the groups of one block."""
        region = self.status.region(index)
        places = np.ndindex(*(part.stop - part.start for part in region[:-2]))
        seeds, lams = self.block_seeds(index), self.stored.lams[region[-1]]
        return tuple(PlacedGroup(place, self._group(region, place, seeds, lams)) for place in places)

    def group(self, index: tuple[int, ...], place: tuple[int, ...]) -> Group:
        """Return one group of a block."""
        region = self.status.region(index)
        return self._group(region, place, self.block_seeds(index), self.stored.lams[region[-1]])

    def block_seeds(self, index: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the seeds of a block. A reduced sweep reduces them together."""
        region = self.status.region(index)[-2]
        return self.stored.seeds[self._seed_blocks[region.start] if self.spec.reduce else region]

    def seeds_per_status(self, index: tuple[int, ...]) -> int:
        """Return the number of points for each status of a block: its seeds in a reduced sweep, else 1."""
        return int(self.block_seeds(index).size) if self.spec.reduce else 1

    def _group(
        self,
        region: tuple[slice, ...],
        place: tuple[int, ...],
        seeds: NDArray[np.int64],
        lams: NDArray[np.float64],
    ) -> Group:
        """Return the group at a place in the region of a block."""
        spec = self.stored
        at = {name: part.start + i for name, part, i in zip(self.dims, region, place, strict=False)}
        rates = spec.learning_rates
        return Group(
            architecture=spec.architectures[at["architecture"]],
            problem=spec.problem(float(spec.init_scales[at["init_scale"]])),
            solver=spec.solvers[at.get("solver", 0)],
            learning_rate=float(rates[at.get("learning_rate", 0)]) if rates.size else math.nan,
            seeds=seeds,
            lams=lams,
            times=spec.times,
            observables=spec.observables,
            fraction=spec.fraction,
            dtype="float64" if spec.reduce else spec.dtype,
        )

    def kernels_of(self, numbers: NDArray[np.int64]) -> dict[tuple[Architecture, str], Group]:
        """Return the pairs (architecture, solver) that some blocks need, each with a group that has it."""
        found: dict[tuple[Architecture, str], Group] = {}
        matters = [axis for axis, name in enumerate(self.dims) if name in ("architecture", "solver")]
        chunks = np.stack(np.unravel_index(numbers, self.grid))[matters]
        _, firsts = np.unique(chunks, axis=1, return_index=True)
        for number in numbers[np.sort(firsts)]:
            for _, group in self.block(self.index(int(number))):
                found.setdefault((group.architecture, group.solver), group)
        return found

    @cached_property
    def values(self) -> dict[str, ArraySpec]:
        """Arrays of which every block has its own chunks: one, or one for each chunk of time."""
        spec, points = self.spec, self.status
        if spec.reduce:
            word = {"word": 2 * (fold.WORDS + spec.reduce.bins)}  # of 32 bits; see `partials`
            about = {"long_name": "partial sums over the seeds, from which the statistics are made"}
            found = {}
            for name, members in folded_together(spec.observables).items():
                rows = sum(REGISTRY[member].rows for member in members)
                extra = ({"row": rows} if name == PARTIALS else {"scale": len(members)}) | word
                array = self._array(points, extra, "uint32", 0, about, name == PARTIALS)
                found[name] = replace(array, compressed=True, transient=True)
            return found
        return {
            name: self._of_observable(name, points, REGISTRY[name].stored_dims, spec.dtype, math.nan)
            for name in spec.observables
        }

    @cached_property
    def statistics(self) -> dict[str, ArraySpec]:
        """Arrays of statistics over all blocks along the seeds. Without a reduction there are none."""
        reduce = self.spec.reduce
        if not reduce:
            return {}
        cells = _without_seeds(self.status)
        found = {COUNT: ArraySpec(cells.dims, cells.shape, cells.chunk, "int64", 0, COUNT_ATTRIBUTES)}
        for name in self.spec.observables:
            extra = REGISTRY[name].stored_dims | {"statistic": len(reduce.names)}
            array = self._of_observable(name, cells, extra, self.spec.dtype, math.nan)
            # A quantile is the middle of a bin, of which there are few.
            found[name] = replace(array, compressed=bool(reduce.quantiles))
            if reduce.histogram:
                extra = REGISTRY[name].stored_dims | {"bin": reduce.bins}
                about = {"long_name": f"seeds by {name}", "units": "1"}
                array = self._of_observable(name, cells, extra, "int64", 0, about)
                found[f"{name}_histogram"] = replace(array, compressed=True)
        return found

    @property
    def arrays(self) -> list[ArraySpec]:
        """All arrays over points."""
        return [self.status, *self.values.values(), *self.statistics.values()]

    def _of_observable(
        self,
        name: str,
        points: ArraySpec,
        extra: dict[str, int],
        dtype: str,
        fill: Any,
        about: dict[str, Any] | None = None,
    ) -> ArraySpec:
        """Return the spec of an array of an observable. `about` holds attributes beside its own."""
        attributes = REGISTRY[name].attributes | (about or {})
        if name == "convergence_time":
            attributes["fraction"] = self.spec.fraction
        return self._array(points, extra, dtype, fill, attributes, REGISTRY[name].over_time)

    def _array(
        self,
        points: ArraySpec,
        extra: dict[str, int],
        dtype: str,
        fill: Any,
        attributes: dict[str, Any],
        over_time: bool,
    ) -> ArraySpec:
        """Return the spec of an array over points, over time if asked for, and over `extra` dimensions."""
        time = {"time": self.spec.times.size} if over_time else {}
        rest = tuple(extra.values())
        return ArraySpec(
            (*points.dims, *time, *extra),
            (*points.shape, *time.values(), *rest),
            (*points.chunk, *(self.block_shape.times for _ in time), *rest),
            dtype,
            fill,
            attributes,
        )

    def parts(self, index: tuple[int, ...], form: ArraySpec) -> Iterator[tuple[tuple[int, ...], Any]]:
        """Yield the index of each chunk that an array has for a block, and the part of the block in it."""
        if "time" not in form.dims:
            yield (*index, *(0,) * (len(form.shape) - len(index))), ...
            return
        rank, extra = len(index), len(form.shape) - len(index) - 1
        for number in range(self.time_chunks):
            chunk = (*index, number, *(0,) * extra)
            yield chunk, (*(slice(None),) * rank, form.region(chunk)[rank])

    @cached_property
    def axes(self) -> dict[str, tuple[tuple[str, ...], NDArray[Any]]]:
        """Dimensions and values of every coordinate."""
        spec = self.stored
        shapes = spec.architectures
        found: dict[str, Any] = {"architecture": np.array([str(shape) for shape in shapes])}
        found |= {name: np.array([getattr(shape, name) for shape in shapes]) for name in SIZES}
        found["init_scale"] = spec.init_scales
        if spec.solver_axis:
            found["solver"] = np.array(spec.solvers)
        if spec.learning_rate_axis:
            found["learning_rate"] = spec.learning_rates
        found["seed"] = spec.seeds
        if spec.reduce:
            del found["seed"]
            found["seed_block"] = spec.seeds[[part.start for part in self._seed_blocks]]
            found["statistic"] = np.array(spec.reduce.names)
            if spec.reduce.histogram:
                edges = spec.reduce.edges
                found |= {"bin_left": edges[:-1], "bin_right": edges[1:]}
        found |= {"lam": spec.lams, "time": spec.times}
        for observable in spec.observables:
            labels = REGISTRY[observable].labels
            found |= {name: np.array(values) for name, values in labels.items()}
        dims = dict.fromkeys(SIZES, "architecture") | {"bin_left": "bin", "bin_right": "bin"}
        return {name: ((dims.get(name, name),), values) for name, values in found.items()}

    def where(self, index: tuple[int, ...], place: tuple[int, ...], row: int, column: int) -> dict[str, Any]:
        """Return the values on all axes of one point of a group, by the names of the dimensions."""
        group = self.group(index, place)
        point: dict[str, Any] = {
            "architecture": str(group.architecture),
            "seed": int(group.seeds[row]),
            "lam": float(group.lams[column]),
            "init_scale": group.init_scale,
        }
        if self.spec.solver_axis:
            point["solver"] = group.solver
        if self.spec.learning_rate_axis:
            point["learning_rate"] = group.learning_rate
        return point


COUNT_ATTRIBUTES = {
    "long_name": "seeds that are ok, and in the statistics; 0 until all are done",
    "units": "1",
}


def folded_together(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of the observables in each array of partial sums."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(PARTIALS if REGISTRY[name].over_time else SCALE_PARTIALS, []).append(name)
    return found


def _without_seeds(points: ArraySpec) -> ArraySpec:
    """Return the spec of an array over the points of another, without the dimension of seeds."""
    at = points.dims.index("seed_block")

    def rest(parts: tuple[T, ...]) -> tuple[T, ...]:
        return parts[:at] + parts[at + 1 :]

    dims, shape, chunk = rest(points.dims), rest(points.shape), rest(points.chunk)
    return ArraySpec(dims, shape, chunk, points.dtype, points.fill, points.attributes)
