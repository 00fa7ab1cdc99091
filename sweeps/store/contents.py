"""The contents of a store: every point, or statistics over the seeds. Each has a layout of its own.

A spec with [output.reduce] asks for statistics. `layout_class` alone decides between the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import exact_statistics as fold
from fastlin.observables import REGISTRY
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import partials
from fastlin.sweeps.store.array_spec import ArraySpec, Values
from fastlin.sweeps.store.layout import BlockShape, StoreLayout
from fastlin.sweeps.store.partials import PARTIALS, folded_together, row_count

COUNT = "count"
COUNT_ATTRIBUTES = {
    "long_name": "seeds that are ok, and in the statistics; 0 until all are done",
    "units": "1",
}
FOLD_SECONDS = 8e-9  # to add one value to partial sums
# Estimated bytes on disk. The sums of one number take 29 to 51 (small times to t = inf, 100 to 20 000 seeds,
# both solvers), a bin 0.2 to 1.1 (48 to 60 000 seeds), a quantile 3, because it is one of few values. Values
# of one number lie within a few octaves, and quantiles have 64 bins in each.
SUM_BYTES, BIN_BYTES, QUANTILE_BYTES, FILLED_BINS = 48, 0.5, 3, 256
MARGIN = 2  # by how much the estimate of the most that a store takes exceeds these
# Kept are partial sums that take, with the statistics, at most half of the bytes of the points, and at most a
# 50th of those of so many seeds.
SHARE, LARGE_SHARE, LARGE = 1 / 2, 1 / 50, 1000


class PointLayout(StoreLayout):
    """The layout of a store that holds every point."""

    write_nanoseconds = 2.0
    keeps_values = True
    compressed_bytes = most_compressed_bytes = 0

    @classmethod
    def most_seeds(cls, spec: Spec, block_bytes: float) -> float:
        """Return how many seeds of one group fit into a block of so many bytes."""
        return block_bytes / bytes_per_seed(spec)

    @property
    def group_dtype(self) -> str:
        """Type of the numbers that are computed: that of the store."""
        return self.spec.dtype

    @cached_property
    def dims(self) -> dict[str, int]:
        """Dimensions of `status` and their sizes."""
        return self.spec.point_dims

    @cached_property
    def values(self) -> dict[str, ArraySpec]:
        """The observables of each point."""
        return {
            name: _of_observable(self, name, self.status, {}, self.spec.dtype, math.nan)
            for name in self.spec.observables
        }

    @property
    def statistics(self) -> dict[str, ArraySpec]:
        """No arrays."""
        return {}

    def block_seeds(self, index: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the seeds of a block."""
        return self.stored.seeds[self.status.region(index)[-2]]

    def seeds_per_status(self, index: tuple[int, ...]) -> int:
        """Return 1: each point has its status."""
        return 1

    def bad_seeds(self, index: tuple[int, ...], read: Callable[[], Values]) -> NDArray[np.int64]:
        """Return 1 for each point."""
        return np.ones(1, dtype=np.int64)

    def seed_range(self, index: tuple[int, ...]) -> dict[str, int]:
        """Return nothing, because a status is of one seed."""
        return {}

    def _seed_axes(self) -> dict[str, NDArray[Any]]:
        return {"seed": self.stored.seeds}


class StatisticsLayout(StoreLayout):
    """The layout of a reduced store: statistics over the seeds, and the partial sums below them."""

    write_nanoseconds = 1e9 * FOLD_SECONDS / 8
    group_dtype = "float64"

    @classmethod
    def most_seeds(cls, spec: Spec, block_bytes: float) -> float:
        """Return infinity: the size of a block does not depend on the number of its seeds."""
        return math.inf

    @cached_property
    def dims(self) -> dict[str, int]:
        """Dimensions of `status`, with a number for the seeds of each block, and their sizes."""
        sizes = {("seed_block" if name == "seed" else name): n for name, n in self.spec.point_dims.items()}
        return sizes | {"seed_block": len(self._seed_blocks)}

    @cached_property
    def _seed_blocks(self) -> list[slice]:
        """Slices of seeds that are reduced together. New seeds start new blocks: none is written twice."""
        blocks, first = [], 0
        for last in (spec.seeds.size for spec in self.specs):
            starts = range(first, last, self.block_shape.seeds)
            blocks += [slice(start, min(start + self.block_shape.seeds, last)) for start in starts]
            first = last
        return blocks

    @cached_property
    def values(self) -> dict[str, ArraySpec]:
        """Partial sums over the seeds of each block."""
        word = {"word": 2 * (fold.WORDS + self.spec.reduction.bins)}  # of 32 bits; see `partials`
        about = {"long_name": "partial sums over the seeds, from which the statistics are made"}
        found = {}
        for name, members in folded_together(self.spec.observables).items():
            over_time = name == PARTIALS
            extra = ({"row": row_count(members)} if over_time else {"scale": len(members)}) | word
            array = _array(self, self.status, extra, "uint32", 0, about, over_time)
            found[name] = replace(array, compressed=True, transient=True)
        return found

    @cached_property
    def statistics(self) -> dict[str, ArraySpec]:
        """The count of seeds, and the statistics and the histogram of each observable."""
        reduction, cells = self.spec.reduction, self.status.without("seed_block")
        found = {COUNT: replace(cells, dtype="int64", fill=0, attributes=COUNT_ATTRIBUTES)}
        for name in self.spec.observables:
            extra = {"statistic": len(reduction.names)}
            array = _of_observable(self, name, cells, extra, self.spec.dtype, math.nan)
            # A quantile is the middle of a bin, of which there are few.
            found[name] = replace(array, compressed=bool(reduction.quantiles))
            if reduction.histogram:
                about = {"long_name": f"seeds by {name}", "units": "1"}
                array = _of_observable(self, name, cells, {"bin": reduction.bins}, "int64", 0, about)
                found[f"{name}_histogram"] = replace(array, compressed=True)
        return found

    def block_seeds(self, index: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the seeds of a block, which are reduced together."""
        return self.stored.seeds[self._seed_blocks[index[-2]]]

    def seeds_per_status(self, index: tuple[int, ...]) -> int:
        """Return the number of seeds of a block."""
        return int(self.block_seeds(index).size)

    def bad_seeds(self, index: tuple[int, ...], read: Callable[[], Values]) -> NDArray[np.int64]:
        """Return how many seeds of a block are not in its partial sums."""
        ok = partials.count_in(partials.of_one_number(read()))
        return self.block_seeds(index).size - ok

    def seed_range(self, index: tuple[int, ...]) -> dict[str, int]:
        """Return the last seed of a block, as "last_seed"."""
        return {"last_seed": int(self.block_seeds(index)[-1])}

    def _seed_axes(self) -> dict[str, NDArray[Any]]:
        reduction = self.spec.reduction
        firsts = self.stored.seeds[[part.start for part in self._seed_blocks]]
        found: dict[str, NDArray[Any]] = {"seed_block": firsts, "statistic": np.array(reduction.names)}
        if reduction.histogram:
            found |= {"bin_left": reduction.edges[:-1], "bin_right": reduction.edges[1:]}
        return found

    @property
    def keeps_values(self) -> bool:
        """Whether a complete store keeps its partial sums, so that added seeds need no others."""
        if self.compacted:
            return False
        spec, reduction = self.spec, self.spec.reduction
        seeds, size = spec.seeds.size, np.dtype(spec.dtype).itemsize
        statistics = size * len(reduction.names) + (self._bins_bytes if reduction.histogram else 0)
        allowed = size * min(SHARE * seeds, LARGE_SHARE * max(seeds, LARGE))
        return SUM_BYTES + self._bins_bytes + statistics <= allowed

    @property
    def compressed_bytes(self) -> int:
        """Estimated bytes on disk of the compressed statistics, and of the partial sums that are kept."""
        return self._statistics_bytes + (self._merged_bytes if self.keeps_values else 0)

    @property
    def most_compressed_bytes(self) -> int:
        """Estimated bytes on disk, with a margin, while no seed blocks are merged."""
        return MARGIN * (self._statistics_bytes + self._merged_bytes * self.grid[-2])

    @property
    def _merged_bytes(self) -> int:
        """Estimated bytes on disk of all partial sums, with the seed blocks of each cell merged."""
        numbers = sum(math.prod(array.shape[:-1]) for array in self.values.values())
        return int(numbers // self.grid[-2] * (SUM_BYTES + self._bins_bytes))

    @property
    def _statistics_bytes(self) -> int:
        """Estimated bytes on disk of the statistics that are compressed."""
        reduction, total = self.spec.reduction, 0.0
        for array in self.statistics.values():
            if array.compressed:
                moments = len(reduction.statistics) * np.dtype(array.dtype).itemsize
                quantiles = len(reduction.quantiles) * QUANTILE_BYTES
                each = self._bins_bytes if reduction.histogram else moments + quantiles
                total += math.prod(array.shape[:-1]) * each
        return int(total)

    @property
    def _bins_bytes(self) -> float:
        """Estimated bytes on disk of the bins of one number, over all seeds."""
        return BIN_BYTES * min(self.spec.reduction.bins, self.spec.seeds.size, FILLED_BINS)


def layout_class(spec: Spec) -> type[StoreLayout]:
    """Return the class of the layout of a store."""
    return StatisticsLayout if spec.reduce else PointLayout


def layout_of(specs: tuple[Spec, ...], block_shape: BlockShape, compacted: bool = False) -> StoreLayout:
    """Return the layout of a store that was made and extended from some specs, oldest first."""
    return layout_class(specs[-1])(specs, block_shape, compacted)


def bytes_per_seed(spec: Spec) -> int:
    """Return the bytes of all lam and times of one seed, for one architecture and init_scale."""
    entries = [REGISTRY[name] for name in spec.observables]
    numbers = sum(math.prod(entry.stored_shape(spec.times.size)) for entry in entries)
    return spec.lams.size * numbers * np.dtype(spec.dtype).itemsize


def _of_observable(
    layout: StoreLayout,
    name: str,
    points: ArraySpec,
    extra: dict[str, int],
    dtype: str,
    fill: Any,
    about: dict[str, Any] | None = None,
) -> ArraySpec:
    """Return the spec of an array of an observable. `about` holds attributes beside its own."""
    entry = REGISTRY[name]
    attributes = entry.attributes | (about or {})
    if name == "convergence_time":
        attributes["fraction"] = layout.spec.fraction
    return _array(layout, points, entry.stored_dims | extra, dtype, fill, attributes, entry.over_time)


def _array(
    layout: StoreLayout,
    points: ArraySpec,
    extra: dict[str, int],
    dtype: str,
    fill: Any,
    attributes: dict[str, Any],
    over_time: bool,
) -> ArraySpec:
    """Return the spec of an array over points, over time if asked for, and over `extra` dimensions."""
    time = {"time": layout.spec.times.size} if over_time else {}
    rest = tuple(extra.values())
    return ArraySpec(
        (*points.dims, *time, *extra),
        (*points.shape, *time.values(), *rest),
        (*points.chunk, *(layout.block_shape.times for _ in time), *rest),
        dtype,
        fill,
        attributes,
    )
