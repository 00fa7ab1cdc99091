"""Resources of a sweep: its blocks, points, bytes, files and time, known before any work."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.kernels import Record
from fastlin.kernels.batch import VECTORS
from fastlin.kernels.blas.workspace import doubles as doubles_of_one
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.vector.problems import SetUp
from fastlin.kernels.vector.state import Dynamics
from fastlin.sweeps.costs import GROUP_SECONDS, bytes_per_seed, point_seconds, seed_seconds, sizes_of_all
from fastlin.sweeps.folding import BATCH_BYTES
from fastlin.sweeps.layout import ArraySpec, BlockShape, StoreLayout
from fastlin.sweeps.places import Place
from fastlin.sweeps.spec import Spec

# A block should hold enough that files are few and their overhead small (at 4 MB it takes as long as the
# kernels of phase-10m), and take seconds at most, so that little is lost and all cores have work.
BLOCK_BYTES = 16_000_000
BLOCK_SECONDS = 5.0
# Groups are joined into one block until there would be fewer blocks than this, so that slices and the cores
# of a cluster have some each. Of more arrays than three there may be fewer blocks, for as few files.
LEAST_BLOCKS = 48
# Estimated time below which a block is not worth its files and its way through Dask, however few there are.
LEAST_SECONDS = 0.05
# Bytes that a block needs while it runs, per byte of its result: the kernel's array and the copy that
# is written, in float64 whatever the store's dtype.
WORKING_COPIES = 3


def block_shape(spec: Spec) -> BlockShape:
    """Cut a spec into blocks: seeds first, and where all of a group fit into a block, groups are joined.

    Learning rates are joined first, then solvers, init_scales and architectures, each as soon as all values
    of the axis before are in one block. A block holds 16 MB and takes 5 s at most, as far as one seed allows.
    The shape depends on the spec alone, never on the machine.
    """
    seconds = seed_seconds(spec)
    by_bytes = math.inf if spec.reduce else BLOCK_BYTES / bytes_per_seed(spec)
    seeds = max(1, int(min(by_bytes, BLOCK_SECONDS / seconds.max(), spec.seeds.size)))
    shape = BlockShape(seeds=seeds, lams=spec.lams.size, times=spec.times.size)
    if seeds < spec.seeds.size:
        return shape
    alone = StoreLayout((spec,), shape)
    room = BLOCK_BYTES // sum(_chunk_bytes(array) for array in alone.values.values())  # groups
    least = min(LEAST_BLOCKS, 3 * LEAST_BLOCKS // len(Plan(alone).arrays))
    blocks = alone.block_count
    # (A, 1, M, R) seconds of the groups: the same for every init_scale.
    costs = seeds * seconds[:, None] + GROUP_SECONDS
    for axis, (field, size) in reversed([*enumerate(_joinable(spec).items())]):
        blocks //= size
        count = min(room, _longest_run(costs, axis, size), _enough(costs, size, math.ceil(least / blocks)))
        count = math.ceil(size / math.ceil(size / max(1, count)))  # of one length, so that few are filled up
        shape = shape._replace(**{field: count})
        if count < size:
            break
        room, costs = room // size, costs.sum(axis, keepdims=True) * (size / costs.shape[axis])
    return shape


def _joinable(spec: Spec) -> dict[str, int]:
    """Return the sizes of the axes whose groups may be joined, by the fields of a block's shape."""
    rates = spec.learning_rates.size if spec.learning_rate_axis else 1
    sizes = (len(spec.architectures), spec.init_scales.size, len(spec.solvers), rates)
    return dict(zip(BlockShape._fields, sizes, strict=False))


def _enough(costs: NDArray[np.float64], size: int, least: int) -> int:
    """Return how many of the values of an axis are to be joined.

    As many as leave so many blocks along the axis, and more where these would take too little time.
    """
    leave = size if least == 1 else (size - 1) // (least - 1)
    return min(size, max(leave, math.ceil(LEAST_SECONDS / float(costs.mean()))))


def _longest_run(costs: NDArray[np.float64], axis: int, size: int) -> int:
    """Return how many values of an axis can be joined anywhere along it within the time of a block.

    Of an axis on which the time does not depend, the costs have one place.
    """
    if costs.shape[axis] < size:
        return int(min(size, BLOCK_SECONDS / costs.max()))
    total = np.concatenate([np.zeros_like(costs.take([0], axis)), costs.cumsum(axis)], axis)
    low, high = 0, costs.shape[axis]
    while low < high:
        middle = (low + high + 1) // 2
        ends = total.take(range(middle, total.shape[axis]), axis)
        starts = total.take(range(total.shape[axis] - middle), axis)
        low, high = (middle, high) if (ends - starts).max() <= BLOCK_SECONDS else (low, middle - 1)
    return low


@dataclass(frozen=True)
class Plan:
    """Resources of a sweep that is laid out in blocks."""

    layout: StoreLayout

    @classmethod
    def of(cls, spec: Spec) -> Plan:
        """Return the plan of a sweep that is yet to be made."""
        return cls(StoreLayout((spec,), block_shape(spec)))

    @property
    def spec(self) -> Spec:
        """The spec of the sweep."""
        return self.layout.spec

    @property
    def block_seconds(self) -> float:
        """Estimated time of the longest block, with all its groups."""
        return float(self.seconds_of_blocks.max())

    @cached_property
    def seconds_of_blocks(self) -> NDArray[np.float64]:
        """Estimated time of every block, in the shape of the grid."""
        return self._of_blocks(point_seconds(self.layout))

    def scaled_seconds(self, factor: Callable[[int, NDArray[np.float64]], Any]) -> NDArray[np.float64]:
        """Return the time of every block, where groups take longer than estimated by a factor.

        `factor` is a function of the index of a solver, and of the estimates for one seed.
        """
        layout, spec = self.layout, self.layout.spec
        points = point_seconds(layout).copy()
        axis = [*layout.dims].index("solver") if spec.solver_axis else None
        for solver in range(len(spec.solvers)):
            part = (slice(None),) * axis + (solver,) if axis is not None else ...
            points[part] *= factor(solver, points[part] * spec.lams.size)
        return self._of_blocks(points)

    def _of_blocks(self, groups: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum seconds of a point of each group over the points of every block."""
        layout = self.layout
        *steps, _, lams = layout.status.chunk
        for axis, step in enumerate(steps):
            groups = np.add.reduceat(groups, np.arange(0, groups.shape[axis], step), axis)
        seeds = [
            layout.block_seeds((*(0,) * len(steps), number, 0)).size for number in range(layout.grid[-2])
        ]
        starts = np.arange(layout.grid[-1]) * lams
        widths = np.minimum(starts + lams, layout.spec.lams.size) - starts
        found: NDArray[np.float64] = groups[..., None, None] * np.array(seeds)[:, None] * widths
        return found

    @property
    def bytes(self) -> int:
        """Size of the complete store: chunks, which are stored whole, without metadata."""
        return sum(_chunk_count(array) * (_chunk_bytes(array) + 4) for array in self.arrays)

    @property
    def files(self) -> int:
        """Number of chunk files of the complete store."""
        return sum(_chunk_count(array) for array in self.arrays)

    @property
    def arrays(self) -> list[ArraySpec]:
        """Arrays of the store over points."""
        layout = self.layout
        return [layout.status, *layout.values.values(), *layout.statistics.values()]

    @property
    def block_memory(self) -> int:
        """Bytes that one block needs while it runs: its results, and the problems they are made from."""
        layout, per_seed = self.layout, bytes_per_seed(self.spec) * 8 // np.dtype(self.spec.dtype).itemsize
        groups = math.prod(layout.status.chunk[:-2])
        seeds = layout.block_shape.seeds
        results = WORKING_COPIES * per_seed * seeds
        if self.spec.reduce:
            cells = sum(_chunk_bytes(array) for array in layout.values.values()) // groups
            seeds = max(1, min(BATCH_BYTES // per_seed, seeds))
            results = WORKING_COPIES * (cells + per_seed * seeds)
        # Where groups are joined, the block's own arrays hold what all of them have left.
        joined = 0 if groups == 1 else sum(_chunk_bytes(array) for array in layout.values.values())
        return results + 2 * joined + self._problem_memory(seeds)

    def _problem_memory(self, seeds: int) -> int:
        """Bytes of the records of the problems of some seeds, and of what sets them up and works on them."""
        sizes = sizes_of_all(self.spec)
        draws = WIDTH * (sizes.n_i * sizes.n_o + sizes.n_h * (sizes.n_i + sizes.n_o))
        records = Record(sizes).length * seeds
        setup = np.where(sizes.fits_setup, SetUp.doubles(sizes), 8 * sizes.wide * (sizes.m + sizes.k_wide))
        lanes = sizes.fits_lanes | sizes.fits_lanes_to_descend
        one = ~(sizes.fits_lanes & sizes.fits_lanes_to_descend)
        dynamics = np.maximum(lanes * VECTORS * Dynamics.doubles(sizes), one * doubles_of_one(sizes))
        return 8 * int((draws + records + setup + dynamics).max())

    def check_resources(self, place: Place, at_once: int | None, memory: int, done: int = 0) -> None:
        """Raise if the disk or the memory of this machine cannot hold what is still to be computed."""
        folder = place.folder
        if folder is not None:
            while not folder.exists():
                folder = folder.parent
            free = shutil.disk_usage(folder).free
            count = self.layout.block_count
            needed = self.bytes * (count - done) // count
            if needed > free:
                raise InputError(
                    f"the sweep needs {readable_size(needed)} more on the disk of {place.text}, which has "
                    f"{readable_size(free)} free; choose another place, float32, fewer times or seeds"
                )
        if at_once is not None and self.block_memory * at_once > memory:
            raise InputError(
                f"{at_once} blocks at a time need {readable_size(self.block_memory * at_once)} of memory and "
                f"{readable_size(memory)} are there; use fewer workers, times or lam"
            )


def _chunk_bytes(array: ArraySpec) -> int:
    return math.prod(array.chunk) * np.dtype(array.dtype).itemsize


def _chunk_count(array: ArraySpec) -> int:
    return math.prod(math.ceil(size / step) for size, step in zip(array.shape, array.chunk, strict=True))


def readable_size(count: float) -> str:
    """Return a number of bytes for people to read."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
