"""The geometry of a store: its blocks, the chunks that they are in every array, and the points of each.

A block is one chunk of every array. Chunks span several architectures, init_scales, solvers and so on where
one alone is too small to be worth a file. A chunk at the end of an axis is filled up with the
fill value. Points that the axis gains later inside a chunk that exists therefore read as pending.

The layout is a function of the shape of a block and of the specs that the store was made and extended from.
The attributes of a store hold both.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Status
from fastlin.sweeps.spec.extension import AXES, arranged
from fastlin.sweeps.spec.group import Block, Group, Position, Variant
from fastlin.sweeps.spec.points import POINT
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.array_spec import ArraySpec, Values
from fastlin.sweeps.store.point_set import PointSet, point_set

STATUS = "status"
DIMENSIONS = AXES | {"points": POINT}  # of the fields of a block's shape
STATUS_ATTRIBUTES: dict[str, Any] = {
    "long_name": "status of each point; 0 until its block is complete",
    "flag_values": [int(status) for status in Status],
    "flag_meanings": " ".join(status.name.lower() for status in Status),
}


class BlockShape(NamedTuple):
    """Number of values of each axis in a block, by the fields of a spec. It is 1 where there is no axis.

    `parameters` has it of the parameters of [task] and [init] that are axes, by dimension.
    """

    architectures: int = 1
    init_scales: int = 1
    solvers: int = 1
    learning_rates: int = 1
    kappas: int = 1
    rate_ratios: int = 1
    noise_seeds: int = 1
    seeds: int = 1
    lams: int = 1
    points: int = 1
    times: int = 1
    parameters: Mapping[str, int] = {}

    @classmethod
    def from_dict(cls, sizes: Mapping[str, int]) -> BlockShape:
        """Return the shape of `to_dict`."""
        fields = {name: size for name, size in sizes.items() if name in DIMENSIONS}
        return cls(
            **fields, parameters={name: size for name, size in sizes.items() if name not in DIMENSIONS}
        )

    def to_dict(self) -> dict[str, int]:
        """Return the sizes above 1, JSON-ready: those of parameters by dimension, all others by field."""
        sizes = {name: int(getattr(self, name)) for name in self._fields if name in DIMENSIONS}
        return {name: size for name, size in {**sizes, **self.parameters}.items() if size > 1}

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes above 1 by dimension."""
        return {DIMENSIONS.get(name, name): size for name, size in self.to_dict().items()}

    def with_size(self, dimension: str, size: int) -> BlockShape:
        """Return the shape with another size along one dimension."""
        field = next((field for field, name in DIMENSIONS.items() if name == dimension), dimension)
        return self.from_dict(self.to_dict() | {field: size})


@dataclass(frozen=True, eq=False)
class StoreLayout(ABC):
    """The layout of a store: the specs that it was made and extended from, oldest first, and its blocks.

    `contents.layout_of` makes it. The abstract methods differ between a store that holds every point and a
    reduced one, which holds statistics over the seeds.
    """

    write_nanoseconds: ClassVar[float]  # estimated, of each byte of results, on the way into a block

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
    def points(self) -> PointSet:
        """The points of the store: a product of axes, or the rows of a table."""
        return point_set(self.specs, self.stored, self.group_dtype)

    @classmethod
    @abstractmethod
    def most_seeds(cls, spec: Spec, block_bytes: float) -> float:
        """Return how many seeds of one group fit into a block of so many bytes."""

    @property
    @abstractmethod
    def dims(self) -> dict[str, int]:
        """Dimensions of `status` and their sizes."""

    @property
    @abstractmethod
    def values(self) -> dict[str, ArraySpec]:
        """Arrays of which every block has its own chunks: one, or one for each chunk of time."""

    @property
    @abstractmethod
    def statistics(self) -> dict[str, ArraySpec]:
        """Arrays of statistics over all blocks along the seeds. A store of every point has none."""

    @property
    @abstractmethod
    def keeps_values(self) -> bool:
        """Whether blocks of a complete store keep their values, so that added seeds need no others."""

    @property
    @abstractmethod
    def group_dtype(self) -> str:
        """Type of the numbers that are computed of each group."""

    @abstractmethod
    def block_seeds(self, index: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the seeds of a block."""

    @abstractmethod
    def bad_seeds(self, index: tuple[int, ...], read: Callable[[], Values]) -> NDArray[np.int64]:
        """Return the number of bad points behind each status of a block that says so.

        It is 1 in a store of every point. In a reduced one it is the number of seeds that are not in the
        partial sums. `read` returns the values of the block.
        """

    @abstractmethod
    def seed_range(self, index: tuple[int, ...]) -> dict[str, int]:
        """Return the key "last_seed" for a reduced store, where a status is that of all seeds of a block."""

    @abstractmethod
    def _seed_axes(self) -> dict[str, NDArray[Any]]:
        """Return the coordinates of seeds and statistics."""

    @cached_property
    def status(self) -> ArraySpec:
        """The array of commit markers."""
        sizes = self.block_shape.sizes | dict.fromkeys(self.points.implied, 1)
        return ArraySpec(
            tuple(self.dims),
            tuple(self.dims.values()),
            tuple(sizes.get(name, 1) for name in self.dims),
            "uint8",
            int(Status.PENDING),
            STATUS_ATTRIBUTES,
            implied=self.points.implied,
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
    def cells(self) -> Iterator[tuple[int, ...]]:
        """Indices of the chunks of statistics: those of the grid without the dimension of seeds."""
        *leading, _, lams = self.grid
        return np.ndindex(*leading, lams) if self.statistics else iter(())

    def seed_blocks(self, cell_index: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the places in the grid of the blocks whose seeds are in a chunk of statistics."""
        return [(*cell_index[:-1], number, cell_index[-1]) for number in range(self.grid[-2])]

    def index(self, number: int) -> tuple[int, ...]:
        """Return the index in the grid of a block, given its number."""
        return tuple(int(i) for i in np.unravel_index(number, self.grid))

    def number(self, index: tuple[int, ...]) -> int:
        """Return the number of a block, given its index in the grid."""
        return int(np.ravel_multi_index(index, self.grid))

    @cached_property
    def turns(self) -> NDArray[np.int64]:
        """The place of each block, by number, in the order in which the store gained its blocks.

        Slices take the blocks in turn by their places. By their numbers, new seeds may be every second block,
        and would all belong to one of two slices.
        """
        age = np.zeros(self.grid, dtype=np.int64)
        for count in range(1, len(self.specs)):
            earlier = replace(self, specs=self.specs[:count]).grid
            age[tuple(map(slice, earlier))] += 1
        order = np.argsort(-age.ravel(), kind="stable")
        return np.argsort(order)

    def block(self, index: tuple[int, ...]) -> Block:
        """Return the groups of one block."""
        return tuple(self.points.groups(self.status.region(index), self.block_seeds(index)))

    def group(self, index: tuple[int, ...], position: Position) -> Group:
        """Return one group of a block."""
        return self.points.group(self.status.region(index), position, self.block_seeds(index))

    def seeds_per_status(self, index: tuple[int, ...]) -> int:
        """Return the number of points for each status of a block."""
        region = self.status.region(index)[-2]
        return self.block_seeds(index).size // int(region.stop - region.start)

    def kernels_of(self, numbers: NDArray[np.int64]) -> dict[Variant, Group]:
        """Return the variants of kernels that some blocks need, each with a group that has it."""
        matters = [axis for axis, name in enumerate(self.dims) if name in self.points.kernel_dims]
        chunks = np.stack(np.unravel_index(numbers, self.grid))[matters]
        _, firsts = np.unique(chunks, axis=1, return_index=True)
        regions = [self.status.region(self.index(int(number))) for number in numbers[np.sort(firsts)]]
        return self.points.variants(regions, self.stored.seeds[:1])

    @property
    def arrays(self) -> list[ArraySpec]:
        """All arrays over points."""
        return [self.status, *self.values.values(), *self.statistics.values()]

    @cached_property
    def axes(self) -> dict[str, tuple[tuple[str, ...], NDArray[Any]]]:
        """Dimensions and values of every coordinate."""
        spec = self.stored
        coordinates = self.points.coordinates
        own = {**self._seed_axes(), "time": spec.times}
        for observable in spec.observables:
            own |= {name: np.array(values) for name, values in spec.entry(observable).labels.items()}
        dims = {"bin_left": "bin", "bin_right": "bin"}
        return coordinates | {name: ((dims.get(name, name),), values) for name, values in own.items()}

    def where(self, index: tuple[int, ...], position: Position, row: int, column: int) -> dict[str, Any]:
        """Return the values on all axes of one point of a group, by the names of the dimensions.

        `row` is the place of the seed in the block, and `column` that of lam or of the row of a table.
        """
        point = self.points.where(self.status.region(index), position, column)
        head: dict[str, Any] = {name: point.pop(name) for name in (POINT, "architecture") if name in point}
        return {**head, "seed": int(self.block_seeds(index)[row]), **point}
