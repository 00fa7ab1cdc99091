"""How long points take, estimated from the operations of the kernels.

The shape of blocks, the plan and the time left follow from it. The nanoseconds are those of one core of an
AVX-512 server at 4 GHz (`fastlin bench`), within a factor of two from 2 to 32 units a layer; elsewhere they
tell the order of magnitude. They depend on constants only, never on the machine, because every machine must
cut a sweep into the same blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.kernels.closed_form import Way, ways
from fastlin.kernels.sizes import Sizes
from fastlin.observables import REGISTRY
from fastlin.sweeps.layout import StoreLayout
from fastlin.sweeps.spec import CONVERGENCE, Spec

SEARCH = 15.0  # times at which the loss is evaluated to find when it has converged
FOLD_SECONDS = 8e-9  # a value that is folded takes so much longer
GROUP_SECONDS = 2e-4  # that Python takes to call the kernels for one group

Numbers = NDArray[np.int64]


class SizesOfMany(Sizes):
    """Sizes of many networks at once: every size is an array (A,), with the formulas of `Sizes`."""

    def __init__(self, architectures: Sequence[Architecture]) -> None:
        triples = np.array([(shape.n_i, shape.n_h, shape.n_o) for shape in architectures], dtype=np.int64)
        for name, values in zip(("n_i", "n_h", "n_o"), triples.T, strict=True):
            object.__setattr__(self, name, values)

    m: Any = property(lambda self: np.minimum(self.n_i, self.n_o))
    k_i: Any = property(lambda self: np.minimum(self.n_h, self.n_i))
    k_o: Any = property(lambda self: np.minimum(self.n_h, self.n_o))
    k: Any = property(lambda self: np.minimum(self.k_i, self.k_o))
    width: Any = property(lambda self: np.maximum(self.k_i, self.k_o))
    rows_i: Any = property(lambda self: np.minimum(self.n_i, self.m + self.k_i))
    rows_o: Any = property(lambda self: np.minimum(self.n_o, self.m + self.k_o))
    wide: Any = property(lambda self: np.maximum(self.n_i, self.n_o))
    k_wide: Any = property(lambda self: np.minimum(self.n_h, self.wide))
    large: Any = property(lambda self: np.maximum(self.rows_i, self.rows_o))
    small: Any = property(lambda self: np.minimum(self.rows_i, self.rows_o))
    fits_lanes: Any = property(lambda self: (self.width <= 32) & (self.n * self.width <= 4096))
    fits_setup: Any = property(lambda self: self.wide * self.m * np.maximum(self.m, self.k_wide) <= 200_000)


def bytes_per_seed(spec: Spec) -> int:
    """Bytes in the store for all lam and times of one seed, of one architecture and init_scale."""
    entries = [REGISTRY[name] for name in spec.observables]
    numbers = sum(1 if entry.scale is not None else spec.times.size * len(entry.rows) for entry in entries)
    return spec.lams.size * numbers * np.dtype(spec.dtype).itemsize


def seed_seconds(spec: Spec) -> NDArray[np.float64]:
    """Estimate the time of all lam of one seed, (architectures, methods, learning rates).

    Without learning rates the last dimension has one place.
    """
    sizes = SizesOfMany(spec.architectures)
    small = sizes.n * sizes.width**2  # what eliminations and Gram matrices take
    product = sizes.rows_i * sizes.rows_o * sizes.width  # what the loss takes
    start = 10.0 + 0.2 * small
    setup = 400.0 + 2.0 * sizes.m**2 * sizes.wide + 10.0 * sizes.n_h * (sizes.n_i + sizes.n_o)
    jump = 10.0 + 0.2 * small + 0.4 * sizes.n * (sizes.width + 2)
    values = bytes_per_seed(spec)
    writing = 1e9 * FOLD_SECONDS * values / 8 if spec.reduce else 2.0 * values
    rates = spec.learning_rates if spec.learning_rates.size else np.array([np.nan])
    found = np.empty((len(spec.architectures), len(spec.methods), rates.size))
    for at, method in enumerate(spec.methods):
        for place, rate in enumerate(rates):
            if method == "exact":
                way, _ = ways(np.sort(spec.times))
                marched = int(np.count_nonzero(way == Way.MARCH))
                observed = 2.0 + 0.08 * small + 0.016 * product
                each = start + (spec.times.size - marched) * jump + marched * observed
            else:
                steps = float(spec.times.max() / rate)
                each = start + 0.035 * small * steps + (0.05 * small + 0.016 * product) * spec.times.size
            if CONVERGENCE in spec.observables:
                each = each + SEARCH * (jump + 0.016 * product)
            found[:, at, place] = 1e-9 * (setup + spec.lams.size * each + writing)
    return found


@lru_cache(maxsize=4)
def point_seconds(layout: StoreLayout) -> NDArray[np.float64]:
    """Estimate the time of one point of each group, in the dimensions of `status` before seeds and lam."""
    spec, shape = layout.stored, layout.block_shape
    sizes = list(layout.dims.values())[:-2]
    alone = seed_seconds(spec) / spec.lams.size
    # One place along init_scale, of which the time does not depend.
    alone = alone.reshape(sizes[0], 1, *sizes[2:])
    return np.array(np.broadcast_to(alone + GROUP_SECONDS / (shape.seeds * shape.lams), sizes))


def pending_seconds(layout: StoreLayout, index: tuple[int, ...], points: NDArray[np.bool_]) -> float:
    """Estimate the time of some points of a block, given by a mask in the dimensions of its `status`."""
    seconds = point_seconds(layout)[layout.status.region(index)[:-2]]
    seeds = layout.block_seeds(index).size if layout.spec.reduce else 1
    return float((seconds * points.sum(axis=(-2, -1))).sum()) * seeds
