"""Estimated time of points, groups and blocks, from the estimates beside the kernels.

The shape of blocks, the plan and the time left follow from them. They depend on constants only, because every
machine must cut a sweep into the same blocks.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.codes import Start
from fastlin.kernels.compilation import Kernel, distinct, pays
from fastlin.kernels.draws import ENTRY_LAWS, WeightStart
from fastlin.kernels.sizes import SizesOfMany
from fastlin.kernels.vector import problems, raw_problems, time_scales
from fastlin.solvers import SOLVERS, Settings, Solver
from fastlin.sweeps.spec.group import Variant
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.spec.table import OF_FRACTION
from fastlin.sweeps.store.contents import bytes_per_seed, layout_class
from fastlin.sweeps.store.layout import StoreLayout

ONE_OF_STACK = 1e5  # nanoseconds of NumPy for one stage of one network of a sequence
GROUP_SECONDS = 2e-4  # of Python's calls of the kernels of one group


def sizes_of_all(spec: Spec) -> SizesOfMany:
    """Return the sizes of all architectures at once."""
    triples = [(shape.n_i, shape.n_h, shape.n_o) for shape in spec.architectures]
    return SizesOfMany(np.array(triples, dtype=np.int64))


def seed_seconds(spec: Spec) -> NDArray[np.float64]:
    """Estimate the time of all lam of one seed.

    The dimensions are those of a store before seeds, with all optional ones: (architectures, 1, solvers,
    learning rates, kappas, 1, ...). The time does not depend on init_scale, the ratio of the rates, the
    seed of noise, and parameters of task and start. Without learning rates their dimension has length one.
    """
    sizes = sizes_of_all(spec)
    writing = layout_class(spec).write_nanoseconds * bytes_per_seed(spec)
    rates = spec.learning_rates if spec.learning_rates.size else np.array([np.nan])
    seconds = np.empty((len(spec.architectures), len(spec.solvers), rates.size, spec.kappas.size))
    for (at, solver), (column, rate), (layer, kappa) in product(
        enumerate(spec.solvers), enumerate(rates), enumerate(spec.kappas)
    ):
        chosen = {"learning_rate": rate, "kappa": kappa, "rate_ratio": 1.0, "noise_seed": 0}
        settings = spec.settings(spec.values_at({}) | chosen)
        work = _nanoseconds(spec, sizes, SOLVERS[solver], settings)
        seconds[:, at, column, layer] = 1e-9 * (work + writing)
    others = len(spec.optional_axes) - seconds[0].ndim
    return seconds.reshape(len(seconds), 1, *seconds.shape[1:], *(1,) * others)


def _nanoseconds(spec: Spec, sizes: SizesOfMany, solver: Solver, settings: Settings) -> Any:
    """Estimate the time of the kernels for all lam of one seed, 0 where there is no such network."""
    each = solver.nanoseconds(sizes, spec.times, settings, _curvature(spec, sizes, settings))
    if not OF_FRACTION.isdisjoint(spec.observables):
        each = each + time_scales.nanoseconds(sizes)
    if spec.stages:
        each = spec.stages * (ONE_OF_STACK + each)
    draw = problems.nanoseconds(sizes) if spec.balance else raw_problems.nanoseconds(sizes)
    exists = sizes.has_two_sided if settings.start == Start.TWO_SIDED else True
    return np.where(exists, draw + spec.lams.size * each, 0.0)


def _curvature(spec: Spec, sizes: SizesOfMany, settings: Settings) -> Any:
    """Estimate |W1|^2 + |W2|^2 of spectral norms over most of the time, for a target of the order of 1.

    A balanced network has come to the product of the target soon. Raw weights keep their balance, so they
    stay as large as random matrices are. Times of the flow are estimated within a factor of three.
    """
    if settings.start != Start.RAW:
        lam = float(np.abs(spec.lams).mean())
        return 1.0 + math.hypot(lam, 2.0, 2.0 * settings.kappa)
    law = spec.problem(spec.values_at({})).start
    if not isinstance(law, WeightStart):
        return 1.0 + float(spec.init_scales.max()) ** 2
    square, root = ENTRY_LAWS[law.kind].square, np.sqrt(sizes.n_h)
    inputs = square(sizes.n_i, sizes.n_h, sizes.n_h) * (np.sqrt(sizes.n_i) + root) ** 2
    outputs = square(sizes.n_h, sizes.n_o, sizes.n_h) * (root + np.sqrt(sizes.n_o)) ** 2
    return 1.0 + float(spec.init_scales.max()) ** 2 * (inputs + outputs)


@lru_cache(maxsize=4)
def point_seconds(layout: StoreLayout) -> NDArray[np.float64]:
    """Estimate the time of one point of each group, in the dimensions of `status` before seeds and lam."""
    spec, shape = layout.stored, layout.block_shape
    sizes = list(layout.dims.values())[:-2]
    alone = seed_seconds(spec) / spec.lams.size
    names = ("architecture", "init_scale", *spec.optional_axes)
    alone = alone.reshape([n for n, name in zip(alone.shape, names, strict=True) if name in layout.dims])
    return np.array(np.broadcast_to(alone + GROUP_SECONDS / (shape.seeds * shape.lams), sizes))


@lru_cache(maxsize=4)
def seconds_of_blocks(layout: StoreLayout) -> NDArray[np.float64]:
    """Estimate the time of every block, in the shape of the grid."""
    return sum_over_blocks(layout, point_seconds(layout))


def sum_over_blocks(layout: StoreLayout, groups: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum seconds of a point of each group over the points of every block, in the shape of the grid."""
    *steps, _, lams = layout.status.chunk
    for axis, step in enumerate(steps):
        groups = np.add.reduceat(groups, np.arange(0, groups.shape[axis], step), axis)
    seeds = [layout.block_seeds((*(0,) * len(steps), number, 0)).size for number in range(layout.grid[-2])]
    starts = np.arange(layout.grid[-1]) * lams
    widths = np.minimum(starts + lams, layout.spec.lams.size) - starts
    seconds: NDArray[np.float64] = groups[..., None, None] * np.array(seeds)[:, None] * widths
    return seconds


def pending_seconds(layout: StoreLayout, index: tuple[int, ...], points: NDArray[np.bool_]) -> float:
    """Estimate the time of some points of a block, given by a mask in the dimensions of its `status`."""
    seconds = point_seconds(layout)[layout.status.region(index)[:-2]]
    return float((seconds * points.sum(axis=(-2, -1))).sum()) * layout.seeds_per_status(index)


@lru_cache(maxsize=4)
def specialised(layout: StoreLayout) -> frozenset[Variant]:
    """Return the variants whose work in the whole sweep pays for kernels of their own."""
    spec, sizes = layout.spec, sizes_of_all(layout.spec)
    costs = seed_seconds(spec)
    costs = costs.reshape(costs.shape[0], *costs.shape[2:5])
    depends = ("solver", "learning_rate", "kappa")
    others = math.prod(axis.size for name, axis in spec.optional_axes.items() if name not in depends)
    points = spec.seeds.size * spec.init_scales.size * others
    seconds = points * costs.sum(axis=2)  # (architectures, solvers, kappas)
    work: dict[tuple[str, Start], NDArray[np.float64]] = {}
    for at, solver in enumerate(spec.solvers):
        for layer, kappa in enumerate(spec.kappas):
            variant = (solver, spec.start(float(kappa)))
            work[variant] = work.get(variant, 0.0) + seconds[:, at, layer]
    return frozenset(
        (spec.architectures[index], *variant)
        for variant, spent in work.items()
        if (step := SOLVERS[variant[0]].step)
        for index in np.flatnonzero(pays(step, sizes.followed(variant[1]), spent))
    )


def kernels_needed(layout: StoreLayout, numbers: NDArray[np.int64]) -> list[Kernel]:
    """Return the kernels that some blocks need, each once."""
    special = specialised(layout)
    groups = (
        replace(group, specialise=pair in special) for pair, group in layout.kernels_of(numbers).items()
    )
    return distinct(kernel for group in groups for kernel in group.kernels)
