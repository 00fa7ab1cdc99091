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
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.spec.table import OF_FRACTION
from fastlin.sweeps.store import partials
from fastlin.sweeps.store.array_spec import ArraySpec, Values
from fastlin.sweeps.store.layout import BlockShape, StoreLayout
from fastlin.sweeps.store.partials import PARTIALS, folded_together, row_count

COUNT = "count"
RATES = "e1 = rate_ratio^-1/2, e2 = rate_ratio^1/2"
COUNT_ATTRIBUTES = {
    "long_name": "seeds that are ok, and in the statistics; 0 until all are done",
    "units": "1",
}
FOLD_SECONDS = 8e-9  # to add one value to partial sums
# Estimated bytes on disk. The sums of one number take 29 to 51 (small times to t = inf, 100 to 20 000 seeds,
# both solvers), a bin 0.2 to 1.1 (48 to 60 000 seeds), a quantile 3, because it is one of few values. Values
# of one number lie within a few octaves, and quantiles have 64 bins in each.
SUM_BYTES, BIN_BYTES, QUANTILE_BYTES, FILLED_BINS = 48, 0.5, 3, 256
# Kept are partial sums that take, with the statistics, at most half of the bytes of the points, and at most a
# 50th of those of so many seeds.
SHARE, LARGE_SHARE, LARGE = 1 / 2, 1 / 50, 1000


class PointLayout(StoreLayout):
    """The layout of a store that holds every point."""

    write_nanoseconds = 2.0
    keeps_values = True

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
        return self.points.dims

    @cached_property
    def values(self) -> dict[str, ArraySpec]:
        """The observables of each point."""
        fields = {"dtype": self.spec.dtype, "fill": math.nan}
        return {name: _of_observable(self, name, self.status, {}, **fields) for name in self.spec.observables}

    @property
    def statistics(self) -> dict[str, ArraySpec]:
        """No arrays."""
        return {}

    def block_seeds(self, index: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the seeds of a block."""
        return self.stored.seeds[self.status.region(index)[-2]]

    def bad_seeds(self, index: tuple[int, ...], read: Callable[[], Values]) -> NDArray[np.int64]:
        """Return 1 for each point."""
        return np.ones(1, dtype=np.int64)

    def seed_range(self, index: tuple[int, ...]) -> dict[str, int]:
        """Return nothing, because a status is of one seed."""
        return {}

    def _seed_axes(self) -> dict[str, NDArray[Any]]:
        return {} if "seed" in self.stored.columns else {"seed": self.stored.seeds}


class StatisticsLayout(StoreLayout):
    """The layout of a reduced store, which holds statistics over the seeds, made from partial sums."""

    write_nanoseconds = 1e9 * FOLD_SECONDS / 8
    group_dtype = "float64"

    @classmethod
    def most_seeds(cls, spec: Spec, block_bytes: float) -> float:
        """Return infinity: the size of a block does not depend on the number of its seeds."""
        return math.inf

    @cached_property
    def dims(self) -> dict[str, int]:
        """Dimensions of `status`, with a number for the seeds of each block, and their sizes."""
        sizes = {("seed_block" if name == "seed" else name): n for name, n in self.points.dims.items()}
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
        reduction, arrays = self.spec.reduction, {}
        fields = {
            "dtype": "uint32",
            "fill": 0,
            "attributes": {"long_name": "partial sums over the seeds, from which the statistics are made"},
            "compressed": SUM_BYTES + self._bins_bytes,
            "transient": True,
        }
        for name, members in folded_together(self.spec.observables).items():
            over_time = name == PARTIALS
            extra = {"row": row_count(members)} if over_time else {"scale": len(members)}
            extra |= {"word": 2 * (fold.WORDS + reduction.bins)}  # of 32 bits; see `partials`
            arrays[name] = _array(self, self.status, extra, over_time, **fields)
        return arrays

    @cached_property
    def statistics(self) -> dict[str, ArraySpec]:
        """The count of seeds, and the statistics and the histogram of each observable."""
        spec, reduction, cells = self.spec, self.spec.reduction, self.status.without("seed_block")
        arrays = {COUNT: replace(cells, dtype="int64", fill=0, attributes=COUNT_ATTRIBUTES)}
        # A quantile is the middle of a bin, of which there are few.
        moments = len(reduction.statistics) * np.dtype(spec.dtype).itemsize
        quantiles = len(reduction.quantiles) * QUANTILE_BYTES
        compressed = moments + quantiles if quantiles else 0
        fields = {"dtype": spec.dtype, "fill": math.nan, "compressed": compressed}
        for name in spec.observables:
            arrays[name] = _of_observable(self, name, cells, {"statistic": len(reduction.names)}, **fields)
            if reduction.histogram:
                attributes = {"long_name": f"seeds by {name}", "units": "1"}
                counted = {
                    "dtype": "int64",
                    "fill": 0,
                    "attributes": attributes,
                    "compressed": self._bins_bytes,
                }
                extra = {"bin": reduction.bins}
                arrays[f"{name}_histogram"] = _of_observable(self, name, cells, extra, **counted)
        return arrays

    def block_seeds(self, index: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the seeds of a block, which are reduced together."""
        return self.stored.seeds[self._seed_blocks[index[-2]]]

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
        axes: dict[str, NDArray[Any]] = {"seed_block": firsts, "statistic": np.array(reduction.names)}
        if reduction.histogram:
            axes |= {"bin_left": reduction.edges[:-1], "bin_right": reduction.edges[1:]}
        return axes

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
    def _bins_bytes(self) -> float:
        """Estimated bytes on disk of the bins of one number, over all seeds."""
        return BIN_BYTES * min(self.spec.reduction.bins, self.spec.seeds.size, FILLED_BINS)


def layout_class(spec: Spec) -> type[StoreLayout]:
    """Return the class of the layout of a store."""
    return StatisticsLayout if spec.reduce else PointLayout


def layout_of(specs: tuple[Spec, ...], block_shape: BlockShape, compacted: bool = False) -> StoreLayout:
    """Return the layout of a store that was made and extended from some specs, oldest first."""
    return layout_class(specs[-1])(specs, block_shape, compacted)


def bytes_per_point(spec: Spec) -> int:
    """Return the bytes of all times of one point."""
    entries = [spec.entry(name) for name in spec.observables]
    numbers = sum(math.prod(entry.stored_shape(spec.times.size)) for entry in entries)
    return numbers * np.dtype(spec.dtype).itemsize


def bytes_per_seed(spec: Spec) -> int:
    """Return the bytes of all lam and times of one seed of a group, or of one row of a table."""
    return (1 if spec.table else spec.lams.size) * bytes_per_point(spec)


def _of_observable(
    layout: StoreLayout, name: str, points: ArraySpec, extra: dict[str, int], **fields: Any
) -> ArraySpec:
    """Return the spec of an array of an observable. `fields` may have attributes beside its own."""
    entry = layout.spec.entry(name)
    equal = bool((layout.spec.rate_ratios == 1.0).all())
    attributes = entry.attributes_with("" if equal else RATES, layout.spec.init.kind.adapter)
    attributes |= fields.pop("attributes", {})
    if name in OF_FRACTION:
        attributes["fraction"] = layout.spec.fraction
    extra = entry.stored_dims | extra
    return _array(layout, points, extra, entry.over_time, attributes=attributes, **fields)


def _array(
    layout: StoreLayout, points: ArraySpec, extra: dict[str, int], over_time: bool, **fields: Any
) -> ArraySpec:
    """Return the spec of an array over points, over time if asked for, and over `extra` dimensions."""
    time = {"time": layout.spec.times.size} if over_time else {}
    rest = tuple(extra.values())
    return ArraySpec(
        (*points.dims, *time, *extra),
        (*points.shape, *time.values(), *rest),
        (*points.chunk, *(layout.block_shape.times for _ in time), *rest),
        implied=points.implied,
        **fields,
    )
