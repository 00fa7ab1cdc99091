"""Compute one group: set up its problems, then evaluate the closed form or run gradient descent."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import (
    Output,
    Record,
    Status,
    dispatch,
    draw_inputs_records,
    draw_raw_records,
    draw_records,
)
from fastlin.kernels.codes import Start
from fastlin.kernels.sizes import InputsRecord
from fastlin.kernels.starts import starts
from fastlin.observables.registry import REGISTRY, Observable, numbers_of_start
from fastlin.solvers import SOLVERS, Points
from fastlin.sweeps.spec.group import Group
from fastlin.weights.rates import Rates

START_NUMBERS = 500_000  # entries of Q(0) that are held at a time
RECORD_NUMBERS = 4_000_000  # numbers of the records of pairs that are held at a time

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
    if group.absent:
        return unset(group, Status.ABSENT)
    if group.stages:
        from fastlin.sweeps.run import sequences  # xarray takes long to import, and few sweeps need it

        return Result(*sequences.values(group))
    own_records = group.paired or group.on_inputs
    if own_records and (step := _columns_at_once(group)) < group.lams.size:
        parts = [group.part(slice(None), slice(at, at + step)) for at in range(0, group.lams.size, step)]
        return _joined([compute(part) for part in parts])
    points = _points_of(group)
    values, status = _over_time(group, points)
    scales, scale_status = _time_scales(group, points)
    values |= scales | _of_start(group, points)
    grid = (group.seeds.size, group.lams.size)
    shaped = {name: part.reshape(*grid, *part.shape[1:]) for name, part in values.items()}
    worst = np.maximum(status, scale_status).reshape(grid)
    return Result({name: shaped[name] for name in group.observables}, worst)


def _columns_at_once(group: Group) -> int:
    """Return how many columns of a group with a record for each point are computed at a time."""
    sizes = group.architecture.sizes
    if group.on_inputs:
        length = InputsRecord(sizes.unreduced).length
    else:
        length = Record(sizes.unreduced if group.settings.start == Start.RAW else sizes).length
    return max(1, RECORD_NUMBERS // (length * group.seeds.size))


def _joined(parts: list[Result]) -> Result:
    """Return the results of some columns of a group after each other."""
    values = {name: np.concatenate([part.values[name] for part in parts], axis=1) for name in parts[0].values}
    return Result(values, np.concatenate([part.status for part in parts], axis=1))


def _points_of(group: Group) -> Points:
    """Return the points of a group: a product of records and lam, or pairs."""
    if group.on_inputs:
        return _points_on_inputs(group)
    if group.recordless:
        return Points(np.empty((0, 0)), group.lams, group.times, group.settings)
    # Arrays that came over the network may be read-only, and Numba would compile the kernel again for them.
    seeds, lams = np.array(group.seeds), np.array(group.lams)
    raw = group.settings.start == Start.RAW
    sizes, kappas, init_scales = group.architecture.sizes, None, None
    if group.paired:
        each = group.point_values
        seeds, lams = np.array(each.seeds), np.array(each.lams)
        init_scales = np.array(each.init_scales)
        kappas = None if group.own.kappas is None else np.array(each.kappas)
    draw = draw_raw_records if raw else draw_records
    records = draw(sizes, seeds, group.problem, init_scales=init_scales, specialise=group.specialise)
    if raw and group.has_rates:
        records = _at_rates(group, records)
    return Points(records, lams, group.times, group.settings, group.paired, kappas)


def _points_on_inputs(group: Group) -> Points:
    """Return the points of a group with inputs that are not whitened. The record of each holds its start."""
    each, start = group.point_values, group.settings.start
    records = draw_inputs_records(
        group.architecture.sizes,
        each.seeds,
        group.problem,
        init_scales=each.init_scales,
        lams=None if start == Start.RAW else each.lams,
        kappa=each.kappas if start == Start.TWO_SIDED else 0.0,
    )
    if start == Start.RAW and group.has_rates:
        records = _at_rates(group, records)
    unused = np.zeros(len(records))  # lam of the kernel
    return Points(records, unused, group.times, group.settings._replace(white=False), True)


def _over_time(group: Group, points: Points) -> tuple[dict[str, Floats], Codes]:
    """Return the observables over time, (P, T, ...), and status (P,)."""
    names = [name for name in group.observables if REGISTRY[name].over_time]
    if not names:
        return {}, np.full(group.points, Status.OK, dtype=np.uint8)
    order = np.argsort(group.times)  # an extended time axis is not stored in order
    out, status = _numbers(group, points._replace(times=group.times[order]))
    if (np.diff(order) < 0).any():
        out = out[..., np.argsort(order)]
    if group.dtype != "float64":
        with np.errstate(over="ignore"):  # a value beyond float32 becomes inf, and its point counts as failed
            out = out.astype(group.dtype)
        lost = ~np.isfinite(out).all(axis=(0, 2))
        status[lost & (status == Status.OK)] = Status.FAILED
    return _by_observable(names, out), status


def _numbers(group: Group, points: Points) -> tuple[Array, Codes]:
    """Return the numbers over time of the points, (R, P, T) at ascending times, and status (P,)."""
    if group.stacked:
        from fastlin.sweeps.run import stacked  # xarray takes long to import, and few sweeps need it

        return stacked.outputs(group, points.times)
    batch = SOLVERS[group.solver].run(group.architecture.sizes, group.outputs, points, group.specialise)
    out, status = batch.outputs[:, : group.points], batch.status[: group.points]
    if group.has_rates:
        _scale_norms(group, out)
    return out, status


def _time_scales(group: Group, points: Points) -> tuple[dict[str, Floats], Codes]:
    """Return the time scales of the points, (P,), and status (P,); inf is a value."""
    names = [name for name in group.observables if REGISTRY[name].scale is not None]
    if not names:
        return {}, np.full(group.points, Status.OK, dtype=np.uint8)
    out, status = _scales(group, points)
    with np.errstate(over="ignore"):
        values = out.astype(group.dtype)
    status[(np.isinf(values) & np.isfinite(out)).any(axis=0)] = Status.FAILED
    return dict(zip(names, values, strict=True)), status


def _scales(group: Group, points: Points) -> tuple[Array, Codes]:
    """Return the time scales of the points, (scales, P), and status (P,)."""
    if group.recordless:
        from fastlin.sweeps.run import stacked

        return stacked.time_scales(group)
    batch = points.batch(np.empty(0), len(group.scales))
    sizes, special = group.architecture.sizes, group.specialise
    dispatch.time_scales(sizes, group.scales, batch, group.fraction, kappa=points.kappa, specialise=special)
    return batch.outputs[:, : group.points, 0], batch.status[: group.points]


def _at_rates(group: Group, records: Array) -> Array:
    """Return records of raw starts of U, ``U1 = sqrt(e2) W1``, ``U2 = sqrt(e1) W2`` (see `Spec.settings`)."""
    e1, e2 = _rates(group)
    at = (InputsRecord if group.on_inputs else Record)(group.architecture.sizes.unreduced)
    scaled = records.copy()
    scaled[:, at.v : at.u] *= np.sqrt(e2)[:, None]
    scaled[:, at.u :] *= np.sqrt(e1)[:, None]
    return scaled


def _rates(group: Group) -> tuple[Array, Array]:
    """Return the learning rates of the layers, in units of their mean: of each point (P,), or of all (1,)."""
    ratios = np.array([group.rate_ratio]) if group.own.rate_ratios is None else group.point_values.rate_ratios
    distinct, places = np.unique(ratios, return_inverse=True)
    rates = np.array([Rates.of_ratio(ratio) for ratio in distinct.tolist()])
    return rates[places, 0], rates[places, 1]


def _scale_norms(group: Group, out: Array) -> None:
    """Turn the norms of U in outputs (R, P, T) into those of W."""
    e1, e2 = _rates(group)
    for row, output in enumerate(group.outputs):
        if output == Output.W1_NORM:
            out[row] /= np.sqrt(e2)[:, None]
        elif output == Output.W2_NORM:
            out[row] /= np.sqrt(e1)[:, None]


def _of_start(group: Group, points: Points) -> dict[str, Floats]:
    """Return the numbers of the start of the points, (P,)."""
    entries = [REGISTRY[name] for name in group.observables if REGISTRY[name].of_fit is not None]
    if not entries:
        return {}
    if group.recordless:
        return _of_recordless(group, entries)
    shape, records, lams = group.architecture, points.records, points.lams
    per_record = 1 if points.paired else lams.size
    values = {entry.name: np.empty((len(records), per_record), dtype=group.dtype) for entry in entries}
    each = per_record * shape.sizes.units * min(shape.n_h, shape.sizes.units)
    step = max(1, START_NUMBERS // each)
    for first in range(0, len(records), step):
        part = slice(first, first + step)
        own = (lams[part] if points.paired else lams, group.settings.start, _part(points.kappa, part))
        q = starts(shape.sizes, records[part], *own, points.paired)
        inputs = q.shape[-2] - shape.sizes.followed(group.settings.start).rows_o
        for name, numbers in numbers_of_start(entries, q, inputs, shape.n_h).items():
            values[name][part] = np.reshape(numbers, (-1, per_record))
    return {name: part.reshape(-1) for name, part in values.items()}


def _of_recordless(group: Group, entries: Sequence[Observable]) -> dict[str, Floats]:
    """Return the numbers of the start of points without records, (P,)."""
    from fastlin.sweeps.run import stacked

    q, n_i = stacked.starts(group), group.architecture.n_i
    numbers = numbers_of_start(entries, q, n_i, q.shape[-1])
    return {name: np.asarray(each, dtype=group.dtype) for name, each in numbers.items()}


def _part(kappa: float | Array, part: slice) -> float | Array:
    """Return kappa of some pairs."""
    return kappa[part] if isinstance(kappa, np.ndarray) else kappa


def _by_observable(names: Sequence[str], out: Floats) -> dict[str, Floats]:
    """Split out (R, P, T) by observables: (P, T), and own dimensions last."""
    values, first = {}, 0
    for name in names:
        entry = REGISTRY[name]
        rows = np.moveaxis(out[first : first + entry.rows], 0, -1)
        values[name] = rows.reshape(*rows.shape[:2], *entry.stored_dims.values())
        first += entry.rows
    return values
