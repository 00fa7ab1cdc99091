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

from fastlin.kernels.blas import inputs_problems
from fastlin.kernels.codes import Start
from fastlin.kernels.compilation import Kernel, distinct, pays
from fastlin.kernels.draws import ENTRY_LAWS, WeightStart
from fastlin.kernels.sizes import SizesOfMany
from fastlin.kernels.vector import problems, raw_problems, time_scales
from fastlin.solvers import ONE_BY_ONE, SOLVERS, Settings, Solver
from fastlin.sweeps.spec.group import Variant, follows_inputs
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.spec.table import OF_FRACTION
from fastlin.sweeps.store.contents import bytes_per_point, bytes_per_seed, layout_class
from fastlin.sweeps.store.layout import StoreLayout
from fastlin.sweeps.store.point_set import TablePoints

ONE_OF_STACK = 1e5  # nanoseconds of NumPy for one stage of one network of a sequence
ADAPTER_NANOSECONDS = 2e6  # of an adapter, mostly of its draw by NumPy
GROUP_SECONDS = 2e-4  # of Python's calls of the kernels of one group


def sizes_of_all(spec: Spec) -> SizesOfMany:
    """Return the sizes of all architectures at once."""
    triples = [(shape.n_i, shape.n_h, shape.n_o) for shape in spec.architectures]
    return SizesOfMany(np.array(triples, dtype=np.int64))


def seed_seconds(spec: Spec) -> NDArray[np.float64]:
    """Estimate the time of all lam of one seed of a product.

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
        draw, each = _nanoseconds(spec, sizes, SOLVERS[solver], settings)
        seconds[:, at, column, layer] = 1e-9 * (draw + spec.lams.size * each + writing)
    others = len(spec.optional_axes) - seconds[0].ndim
    return seconds.reshape(len(seconds), 1, *seconds.shape[1:], *(1,) * others)


def row_seconds(points: TablePoints, spec: Spec) -> NDArray[np.float64]:
    """Estimate the time of one seed of each row of a table, (rows,), in the order stored.

    The first row of a seed has the time to draw its network, and the first one of a group that of its calls.
    """
    sizes = sizes_of_all(spec)
    writing = layout_class(spec).write_nanoseconds * bytes_per_point(spec)
    kinds = points.sorted.kinds
    draw, each = np.empty((2, len(kinds.rows), len(spec.architectures)))
    for number, row in enumerate(kinds.rows):
        chosen = points.chosen(int(row))
        draw[number], each[number] = _nanoseconds(
            spec, sizes, SOLVERS[chosen["solver"]], spec.settings(chosen)
        )
    at = (kinds.codes, points.architecture_codes)
    work = each[at] + np.where(points.sorted.new_draws, draw[at], 0.0) + writing
    seconds: NDArray[np.float64] = 1e-9 * work
    seconds[points.sorted.starts] += GROUP_SECONDS
    return seconds


def _nanoseconds(spec: Spec, sizes: SizesOfMany, solver: Solver, settings: Settings) -> tuple[Any, Any]:
    """Estimate the times to draw one network and to compute one point, 0 where there is no such network."""
    if spec.init.kind.adapter:
        return 0.0, np.full(len(spec.architectures), ADAPTER_NANOSECONDS)
    curvature = _curvature(spec, sizes, settings)
    each = solver.nanoseconds(sizes, spec.times, settings._replace(white=spec.white), curvature)
    if not spec.white:
        in_lanes = not spec.stages and follows_inputs(solver.name, settings, spec.observables)
        each = each + (inputs_problems.nanoseconds(sizes) if in_lanes else ONE_BY_ONE)
    if not OF_FRACTION.isdisjoint(spec.observables):
        each = each + time_scales.nanoseconds(sizes)
    if spec.stages:
        each = spec.stages * (ONE_OF_STACK + each)
    draw = problems.nanoseconds(sizes) if spec.balance else raw_problems.nanoseconds(sizes)
    exists = sizes.has_two_sided if settings.start == Start.TWO_SIDED else True
    return np.where(exists, draw, 0.0), np.where(exists, each, 0.0)


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
    """Estimate the time of one point, in the dimensions of `status`.

    The size is 1 along dimensions on which the time does not depend: seeds, and lam of a product.
    """
    spec, shape = layout.stored, layout.block_shape
    if isinstance(layout.points, TablePoints):
        return row_seconds(layout.points, spec)[None]
    sizes = list(layout.dims.values())[:-2]
    alone = seed_seconds(spec) / spec.lams.size
    names = ("architecture", "init_scale", *spec.optional_axes)
    alone = alone.reshape([n for n, name in zip(alone.shape, names, strict=True) if name in layout.dims])
    full = np.array(np.broadcast_to(alone + GROUP_SECONDS / (shape.seeds * shape.lams), sizes))
    return full[..., None, None]


def seconds_in_block(layout: StoreLayout, index: tuple[int, ...]) -> NDArray[np.float64]:
    """Estimate the time of one point of a block, in the dimensions of its `status`; see `point_seconds`."""
    seconds, region = point_seconds(layout), layout.status.region(index)
    return seconds[
        tuple(part if size > 1 else slice(None) for part, size in zip(region, seconds.shape, strict=True))
    ]


@lru_cache(maxsize=4)
def seconds_of_blocks(layout: StoreLayout) -> NDArray[np.float64]:
    """Estimate the time of every block, in the shape of the grid."""
    return sum_over_blocks(layout, point_seconds(layout))


def sum_over_blocks(layout: StoreLayout, each: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum seconds of points, as of `point_seconds`, over every block, in the shape of the grid."""
    *steps, _, columns = layout.status.chunk
    for axis, step in enumerate(steps):
        each = np.add.reduceat(each, np.arange(0, each.shape[axis], step), axis)
    seeds = [layout.block_seeds((*(0,) * len(steps), number, 0)).size for number in range(layout.grid[-2])]
    starts = np.arange(layout.grid[-1]) * columns
    if each.shape[-1] == 1:
        each = each * (np.minimum(starts + columns, layout.status.shape[-1]) - starts)
    else:
        each = np.add.reduceat(each, starts, -1)
    seconds: NDArray[np.float64] = each * np.array(seeds)[:, None]
    return seconds


def pending_seconds(layout: StoreLayout, index: tuple[int, ...], points: NDArray[np.bool_]) -> float:
    """Estimate the time of some points of a block, given by a mask in the dimensions of its `status`."""
    seconds = seconds_in_block(layout, index) * points.sum(axis=-2, keepdims=True)
    return float(seconds.sum()) * layout.seeds_per_status(index)


@lru_cache(maxsize=4)
def specialised(layout: StoreLayout) -> frozenset[Variant]:
    """Return the variants whose work in the whole sweep pays for kernels of their own."""
    work = _work_of_table(layout) if layout.spec.table else _work_of_product(layout.spec)
    sizes = sizes_of_all(layout.spec)
    return frozenset(
        (layout.spec.architectures[index], *variant)
        for variant, spent in work.items()
        if (step := SOLVERS[variant[0]].step)
        for index in np.flatnonzero(pays(step, sizes.followed(variant[1]), spent))
    )


Work = dict[tuple[str, Start], NDArray[np.float64]]  # seconds of each architecture


def _work_of_table(layout: StoreLayout) -> Work:
    """Return the seconds of each architecture by solver and kind of start, of a table of points."""
    spec, points = layout.spec, layout.points
    assert isinstance(points, TablePoints)
    seconds, work = point_seconds(layout)[0] * layout.dims.get("seed", spec.seeds.size), Work()
    for number, row in enumerate(points.sorted.kinds.rows):
        chosen, mine = points.chosen(int(row)), points.sorted.kinds.codes == number
        variant = (chosen["solver"], spec.start(chosen["kappa"]))
        codes = points.architecture_codes[mine]
        spent = np.bincount(codes, weights=seconds[mine], minlength=len(spec.architectures))
        work[variant] = work.get(variant, np.zeros(spent.size)) + spent
    return work


def _work_of_product(spec: Spec) -> Work:
    """Return the seconds of each architecture by solver and kind of start, of a product."""
    costs = seed_seconds(spec)
    costs = costs.reshape(costs.shape[0], *costs.shape[2:5])
    depends = ("solver", "learning_rate", "kappa")
    others = math.prod(axis.size for name, axis in spec.optional_axes.items() if name not in depends)
    points = spec.seeds.size * spec.init_scales.size * others
    seconds = points * costs.sum(axis=2)  # (architectures, solvers, kappas)
    work = Work()
    for at, solver in enumerate(spec.solvers):
        for layer, kappa in enumerate(spec.kappas):
            variant = (solver, spec.start(float(kappa)))
            work[variant] = work.get(variant, 0.0) + seconds[:, at, layer]
    return work


def kernels_needed(layout: StoreLayout, numbers: NDArray[np.int64]) -> list[Kernel]:
    """Return the kernels that some blocks need, each once."""
    special = specialised(layout)
    groups = (
        replace(group, specialise=pair in special) for pair, group in layout.kernels_of(numbers).items()
    )
    return distinct(kernel for group in groups for kernel in group.kernels)
