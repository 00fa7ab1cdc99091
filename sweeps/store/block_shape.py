"""The shape of blocks: a function of the spec alone, so that every machine cuts a sweep alike."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fastlin.sweeps.spec.points import POINT
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.contents import layout_class, layout_of
from fastlin.sweeps.store.costs import GROUP_SECONDS, point_seconds, seed_seconds
from fastlin.sweeps.store.layout import BlockShape

# A block should hold so much that files are few and their overhead is small: at 4 MB the overhead of
# phase-10m was as long as its kernels. A block should take seconds at most, so that a kill loses little and
# all cores have work.
BLOCK_BYTES = 16_000_000
BLOCK_SECONDS = 5.0
# Groups are joined into one block until there would be fewer blocks than this, so that all slices and all
# cores of a cluster have some. More than three arrays have fewer blocks, so that the number of files stays as
# small.
LEAST_BLOCKS = 48
# Estimated time below which groups are joined in any case, because files and Dask would take longer.
LEAST_SECONDS = 0.05
SMALL_BYTES = 250_000  # of a block that has room for rows that a table may gain


def choose_block_shape(spec: Spec) -> BlockShape:
    """Return the shape of the blocks of a spec. Groups are joined where all seeds of one fit into a block.

    The optional axes are joined first, from the last one on, then init_scales and architectures, each as soon
    as all values of the axis before are in one block. A block holds 16 MB and takes 5 s at most, as far as
    one seed allows. The shape depends on the spec alone, never on the machine.
    """
    return _of_table(spec) if spec.table else _of_product(spec)


def _of_table(spec: Spec) -> BlockShape:
    """Return the shape of the blocks of a table: some seeds, if these are no column, and consecutive rows.

    A block of a small table has room for more rows, because a table may grow.
    """
    shape = BlockShape(times=spec.times.size)
    layout = layout_of((spec,), shape)
    costs, count = point_seconds(layout)[0], layout.dims[POINT]
    by_bytes = layout_class(spec).most_seeds(spec, BLOCK_BYTES)
    most = 1 if "seed" in spec.columns else spec.seeds.size
    seeds = max(1, int(min(by_bytes, BLOCK_SECONDS / costs.max(), most)))
    alone = layout_of((spec,), shape._replace(seeds=seeds))
    of_row = sum(array.chunk_bytes for array in alone.values.values())
    blocks = -(-most // seeds)
    least = min(LEAST_BLOCKS, 3 * LEAST_BLOCKS // len(alone.arrays))
    wanted = max(count // math.ceil(least / blocks), math.ceil(LEAST_SECONDS / (seeds * float(costs.mean()))))
    rows = max(1, min(BLOCK_BYTES // of_row, wanted, max(count, SMALL_BYTES // of_row)))
    longest = _longest_run(seeds * costs, 0, count)
    if rows < count or longest < count:
        rows = math.ceil(count / math.ceil(count / max(1, min(rows, longest))))  # of one length
    return shape._replace(seeds=seeds, points=rows)


def _of_product(spec: Spec) -> BlockShape:
    """Return the shape of the blocks of a product."""
    seconds = seed_seconds(spec)
    by_bytes = layout_class(spec).most_seeds(spec, BLOCK_BYTES)
    seeds = max(1, int(min(by_bytes, BLOCK_SECONDS / seconds.max(), spec.seeds.size)))
    shape = BlockShape(seeds=seeds, lams=spec.lams.size, times=spec.times.size)
    if seeds < spec.seeds.size:
        return shape
    alone = layout_of((spec,), shape)
    capacity = BLOCK_BYTES // sum(array.chunk_bytes for array in alone.values.values())  # groups
    least = min(LEAST_BLOCKS, 3 * LEAST_BLOCKS // len(alone.arrays))
    blocks = alone.block_count
    costs = seeds * seconds + GROUP_SECONDS  # of the groups, which are the same along some axes
    for axis, (dimension, size) in reversed([*enumerate(_joinable(spec).items())]):
        blocks //= size
        count = min(
            capacity, _longest_run(costs, axis, size), _enough(costs, size, math.ceil(least / blocks))
        )
        count = math.ceil(size / math.ceil(size / max(1, count)))  # of one length, so that few are filled up
        shape = shape.with_size(dimension, count)
        if count < size:
            break
        capacity, costs = capacity // size, costs.sum(axis, keepdims=True) * (size / costs.shape[axis])
    return shape


def _joinable(spec: Spec) -> dict[str, int]:
    """Return the sizes of the axes whose groups may be joined, by dimension."""
    sizes = {"architecture": len(spec.architectures), "init_scale": spec.init_scales.size}
    return sizes | {name: max(1, axis.size) for name, axis in spec.optional_axes.items()}


def _enough(costs: NDArray[np.float64], size: int, least: int) -> int:
    """Return how many of the values of an axis are to be joined.

    As many as leave so many blocks along the axis, and more where these would take too little time.
    """
    leave = size if least == 1 else (size - 1) // (least - 1)
    return min(size, max(leave, math.ceil(LEAST_SECONDS / float(costs.mean()))))


def _longest_run(costs: NDArray[np.float64], axis: int, size: int) -> int:
    """Return how many values of an axis can be joined anywhere along it within the time of a block.

    The costs have size 1 along an axis on which the time does not depend.
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
