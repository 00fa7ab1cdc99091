"""Compute one group: set up its problems, then evaluate the closed form or run gradient descent."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Output, Record, Status, dispatch, draw_raw_records, draw_records, empty_batch
from fastlin.kernels.codes import Start
from fastlin.kernels.starts import starts
from fastlin.observables import REGISTRY
from fastlin.rates import Rates
from fastlin.solvers import SOLVERS, Points
from fastlin.sweeps.spec.group import Group

START_NUMBERS = 500_000  # entries of Q(0) that are held at a time

Array = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
Codes = NDArray[np.uint8]


class Result(NamedTuple):
    """Values of a group and status (S, L).

    One array per observable: (S, L, T), or (S, L, T, rows), or (S, L) of a time scale.
    """

    values: dict[str, NDArray[Any]]
    status: NDArray[np.uint8]


def unset(group: Group, status: Status) -> Result:
    """Return a group without values, all its points of one status."""
    grid = (group.seeds.size, group.lams.size)
    values = {}
    for name in group.observables:
        shape = group.entry(name).stored_shape(group.times.size)
        values[name] = np.full((*grid, *shape), np.nan, dtype=group.dtype)
    return Result(values, np.full(grid, status, dtype=np.uint8))


def compute(group: Group) -> Result:
    """Compute one group. The bits of a point depend on its values and on all times, and on nothing else."""
    # Arrays that came over the network may be read-only, and Numba would compile the kernel again for them.
    seeds, lams = np.array(group.seeds), np.array(group.lams)
    if group.absent:
        return unset(group, Status.ABSENT)
    if group.stages:
        from fastlin.sweeps.run import sequences  # xarray takes long to import, and few sweeps need it

        return Result(*sequences.values(replace(group, seeds=seeds, lams=lams)))
    draw = draw_raw_records if group.settings.start == Start.RAW else draw_records
    records = draw(group.architecture.sizes, seeds, group.problem, specialise=group.specialise)
    if group.rate_ratio != 1.0 and group.settings.start == Start.RAW:
        records = _at_rates(group, records)
    values, status = _over_time(group, records, lams)
    scales, scale_status = _time_scales(group, records, lams)
    values |= scales | _of_start(group, records, lams)
    grid = (seeds.size, lams.size)
    shaped = {name: part.reshape(*grid, *part.shape[1:]) for name, part in values.items()}
    worst = np.maximum(status, scale_status).reshape(grid)
    return Result({name: shaped[name] for name in group.observables}, worst)


def _over_time(group: Group, records: Array, lams: Array) -> tuple[dict[str, Floats], Codes]:
    """Return the observables over time, (P, T, ...), and status (P,)."""
    names = [name for name in group.observables if REGISTRY[name].over_time]
    points = len(records) * lams.size
    if not names:
        return {}, np.full(points, Status.OK, dtype=np.uint8)
    order = np.argsort(group.times)  # an extended time axis is not stored in order
    times = group.times[order]
    out, status = _numbers(group, records, lams, times)
    if (np.diff(order) < 0).any():
        out = out[..., np.argsort(order)]
    if group.dtype != "float64":
        with np.errstate(over="ignore"):  # a value beyond float32 becomes inf, and its point counts as failed
            out = out.astype(group.dtype)
        lost = ~np.isfinite(out).all(axis=(0, 2))
        status[lost & (status == Status.OK)] = Status.FAILED
    return _by_observable(names, out), status


def _numbers(group: Group, records: Array, lams: Array, times: Array) -> tuple[Array, Codes]:
    """Return the numbers over time of the points, (R, P, T) at ascending times, and status (P,)."""
    if group.one_by_one:
        from fastlin.sweeps.run import one_by_one  # xarray takes long to import, and few sweeps need it

        return one_by_one.outputs(group, times)
    points = len(records) * lams.size
    wanted = Points(records, lams, times, group.settings)
    batch = SOLVERS[group.solver].run(group.architecture.sizes, group.outputs, wanted, group.specialise)
    out, status = batch.outputs[:, :points], batch.status[:points]
    if group.rate_ratio != 1.0:
        _scale_norms(group, out)
    return out, status


def _time_scales(group: Group, records: Array, lams: Array) -> tuple[dict[str, Floats], Codes]:
    """Return the time scales of the points, (P,), and status (P,); inf is a value."""
    names = [name for name in group.observables if REGISTRY[name].scale is not None]
    points = len(records) * lams.size
    if not names:
        return {}, np.full(points, Status.OK, dtype=np.uint8)
    batch = empty_batch(records, lams, np.empty(0), len(group.scales))
    sizes, special = group.architecture.sizes, group.specialise
    kappa = group.settings.kappa
    dispatch.time_scales(sizes, group.scales, batch, group.fraction, kappa=kappa, specialise=special)
    out, status = batch.outputs[:, :points, 0], batch.status[:points]
    with np.errstate(over="ignore"):
        values = out.astype(group.dtype)
    status[(np.isinf(values) & np.isfinite(out)).any(axis=0)] = Status.FAILED
    return dict(zip(names, values, strict=True)), status


def _at_rates(group: Group, records: Array) -> Array:
    """Return records of raw starts of U, ``U1 = sqrt(e2) W1``, ``U2 = sqrt(e1) W2`` (see `Spec.settings`)."""
    e1, e2 = Rates.of_ratio(group.rate_ratio)
    at = Record(group.architecture.sizes.unreduced)
    scaled = records.copy()
    scaled[:, at.v : at.u] *= math.sqrt(e2)
    scaled[:, at.u :] *= math.sqrt(e1)
    return scaled


def _scale_norms(group: Group, out: Array) -> None:
    """Turn the norms of U in outputs (R, P, T) into those of W."""
    e1, e2 = Rates.of_ratio(group.rate_ratio)
    for row, output in enumerate(group.outputs):
        if output == Output.W1_NORM:
            out[row] /= math.sqrt(e2)
        elif output == Output.W2_NORM:
            out[row] /= math.sqrt(e1)


def _of_start(group: Group, records: Array, lams: Array) -> dict[str, Floats]:
    """Return the numbers of the start of the points, (P,)."""
    entries = [REGISTRY[name] for name in group.observables if REGISTRY[name].of_start is not None]
    if not entries:
        return {}
    shape, (start, kappa, *_) = group.architecture, group.settings
    values = {entry.name: np.empty((len(records), lams.size), dtype=group.dtype) for entry in entries}
    each = lams.size * shape.sizes.units * min(shape.n_h, shape.sizes.units)
    step = max(1, START_NUMBERS // each)
    for first in range(0, len(records), step):
        q = starts(shape.sizes, records[first : first + step], lams, start, kappa)
        inputs = q.shape[-2] - shape.sizes.followed(start).rows_o
        for entry in entries:
            assert entry.of_start is not None
            values[entry.name][first : first + step] = entry.of_start(q, inputs, shape.n_h)
    return {name: part.reshape(-1) for name, part in values.items()}


def _by_observable(names: Sequence[str], out: Floats) -> dict[str, Floats]:
    """Split out (R, P, T) by observables: (P, T), and own dimensions last."""
    values, first = {}, 0
    for name in names:
        entry = REGISTRY[name]
        rows = np.moveaxis(out[first : first + entry.rows], 0, -1)
        values[name] = rows.reshape(*rows.shape[:2], *entry.stored_dims.values())
        first += entry.rows
    return values
