"""Outputs and the time of convergence of networks with two-sided balance, one at a time.

`vector.two_sided_closed_form` computes outputs of eight smaller networks at a time. The time of convergence
has no kernel in lanes.
"""

from typing import Any

import numpy as np

from fastlin.kernels.batch import Batch, kappas_of
from fastlin.kernels.blas.matrices import copy, is_finite
from fastlin.kernels.blas.routines import ddot, flush_denormals, restore_denormals
from fastlin.kernels.blas.starts import write_two_sided_start
from fastlin.kernels.blas.two_sided import (
    Riccati,
    begin_two_sided,
    jump_two_sided,
    observe_two_sided,
    riccati,
    two_sided_loss,
)
from fastlin.kernels.blas.workspace import Evolving, Shape, evolving, shape_of
from fastlin.kernels.codes import Status
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.jit import Array, Call, Codes, Integers, jit
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.tolerances import AT_REST, CLOSED, LONGEST_SEARCH

_ITERATIONS = 100  # limit of Ridders' method, which takes about ten unless a plateau makes it bisect


@callee
def _begin(shape: Shape, lam: float, kappa: float, s: Array, q: Array, ws: Evolving, more: Riccati) -> bool:
    """Bring a start q (N, N) to t = 0 and keep M(0). Return whether it is finite and LAPACK succeeds."""
    sound = is_finite(q) and is_finite(s) and begin_two_sided(shape, lam, kappa, s, q, ws, more)
    sound = sound and jump_two_sided(shape, kappa, 0.0, ws, more)
    if sound:
        copy(more.qqt.size, more.qqt.ravel(), more.qqt_start.ravel())
    return sound


@jit
def _solve_points(
    shape: Shape,
    records: Array,
    lams: Array,
    each: int,
    kappas: Array,
    times: Array,
    outputs: Integers,
    q: Array,
    ws: Evolving,
    more: Riccati,
    out: Array,
    status: Codes,
) -> None:
    for point in range(len(records) * each):
        record, lam, kappa = records[point // each], lams[point % lams.size], kappas[point % kappas.size]
        s, floor = record[: shape.m], record[2 * shape.m]
        write_two_sided_start(shape, record, lam, kappa, q)
        mode = flush_denormals()  # G decays to 0
        started = _begin(shape, lam, kappa, s, q, ws, more)
        sound = started
        for index in range(times.size):
            if started and jump_two_sided(shape, kappa, times[index], ws, more):
                sound &= observe_two_sided(shape, s, floor, outputs, out[:, point], index, more)
            else:
                out[:, point, index] = np.nan
                sound = False
        restore_denormals(mode)
        status[point] = Status.OK if sound else Status.FAILED


def prepare_closed_form(sizes: Sizes, outputs: tuple[int, ...], batch: Batch, kappa: float | Array) -> Call:
    """Return the call that solves all points (see `dispatch.closed_form`)."""
    whole = sizes.two_sided
    return Call(
        _solve_points,
        (
            shape_of(whole),
            np.ascontiguousarray(batch.records),
            batch.lam,
            batch.per_record,
            kappas_of(batch, kappa),
            batch.times,
            np.array(outputs, dtype=np.int64),
            np.empty((whole.n, whole.n)),
            evolving(whole),
            riccati(whole),
            batch.outputs,
            batch.status,
        ),
    )


@jit
def _follow(
    shape: Shape,
    lam: float,
    kappa: float,
    s: Array,
    q: Array,
    times: Array,
    ws: Evolving,
    more: Riccati,
    path: Array,
) -> None:
    started = _begin(shape, lam, kappa, s, q, ws, more)
    for index in range(times.size):
        sound = started and jump_two_sided(shape, kappa, times[index], ws, more)
        for i in range(shape.n):
            for j in range(i + 1):
                value = more.qqt[i, j] if sound else np.nan
                path[index, i, j] = path[index, j, i] = value


def follow(sizes: Sizes, lam: float, kappa: float, s: Array, q0: Array, times: Array) -> Array:
    """Return QQ^T (T, N, N) of one given start q0 (N, N)."""
    whole = sizes.two_sided
    path = np.empty((times.size, whole.n, whole.n))
    start, s = np.ascontiguousarray(q0.T), np.ascontiguousarray(s)
    ws, more = evolving(whole), riccati(whole)
    _follow(shape_of(whole), float(lam), float(kappa), s, start, times, ws, more, path)
    return path


@callee
def _excess(
    shape: Shape, kappa: float, t: float, s: Array, goal: float, ws: Evolving, more: Riccati
) -> float:
    """Return the excess of the loss over the goal at a time."""
    if not jump_two_sided(shape, kappa, t, ws, more):
        return np.nan
    excess: float = two_sided_loss(shape, s, -goal, more)
    return excess


@callee
def _convergence(
    shape: Shape, lam: float, kappa: float, s: Array, q: Array, fraction: float, ws: Evolving, more: Riccati
) -> float:
    """Return the time at which the loss has fallen by a fraction of its fall, by Ridders' method (1979).

    N_h >= N, so the flow ends at the least loss of a linear map. The search for a bracket multiplies time by
    4.
    """
    if not _begin(shape, lam, kappa, s, q, ws, more):
        return np.nan
    first, total = two_sided_loss(shape, s, 0.0, more), ddot(s.size, s, 1, s, 1)
    goal = (1.0 - fraction) * first
    if first <= AT_REST * (first + total) or first <= goal:
        return 0.0
    if not _excess(shape, kappa, np.inf, s, goal, ws, more) < 0.0:
        return np.inf
    early, late = 0.0, 0.25 / more.om[0]
    at_early, at_late = first - goal, np.nan
    for _ in range(LONGEST_SEARCH):
        at_late = _excess(shape, kappa, late, s, goal, ws, more)
        if at_late <= 0.0:
            break
        early, at_early, late = late, at_late, 4.0 * late
    if not at_late <= 0.0:
        return np.inf if at_late > 0.0 else np.nan
    answer = late
    for _ in range(_ITERATIONS):
        middle = 0.5 * (early + late)
        at_middle = _excess(shape, kappa, middle, s, goal, ws, more)
        square = at_middle * at_middle - at_early * at_late
        slope = at_middle / np.sqrt(square) if square > 0.0 else 0.0
        guess = middle + (middle - early) * slope
        if at_middle > 0.0:
            early, at_early = middle, at_middle
        else:
            late, at_late = middle, at_middle
        # Rounding must not move the guess out of the bracket.
        guess = max(min(guess, late), early)
        at_guess = _excess(shape, kappa, guess, s, goal, ws, more)
        if at_guess > 0.0:
            early, at_early = guess, at_guess
        else:
            late, at_late = guess, at_guess
        change, answer = abs(guess - answer), guess
        if change <= CLOSED * guess or late - early <= CLOSED * guess:
            break
    return float(answer)


@jit
def _convergence_of_points(
    shape: Shape,
    records: Array,
    lams: Array,
    each: int,
    kappas: Array,
    fraction: float,
    q: Array,
    ws: Evolving,
    more: Riccati,
    out: Array,
    status: Codes,
) -> None:
    for point in range(len(records) * each):
        record, lam, kappa = records[point // each], lams[point % lams.size], kappas[point % kappas.size]
        write_two_sided_start(shape, record, lam, kappa, q)
        mode = flush_denormals()
        out[point] = _convergence(shape, lam, kappa, record[: shape.m], q, fraction, ws, more)
        restore_denormals(mode)
        status[point] = Status.FAILED if np.isnan(out[point]) else Status.OK


def prepare_convergence(sizes: Sizes, batch: Batch, kappa: float | Array, fraction: float) -> Call:
    """Return the call that finds the times of convergence of all points (see `dispatch.time_scales`)."""
    whole = sizes.two_sided
    return Call(
        _convergence_of_points,
        (
            shape_of(whole),
            np.ascontiguousarray(batch.records),
            batch.lam,
            batch.per_record,
            kappas_of(batch, kappa),
            fraction,
            np.empty((whole.n, whole.n)),
            evolving(whole),
            riccati(whole),
            batch.outputs[0, :, 0],
            batch.status,
        ),
    )


@jit
def _convergence_of_one(*arguments: Any) -> float:
    time: float = _convergence(*arguments)
    return time


def convergence_of(sizes: Sizes, lam: float, kappa: float, s: Array, q0: Array, fraction: float) -> float:
    """Return the time of convergence of one network with a given start q0 (N, N)."""
    whole = sizes.two_sided
    start, s = np.ascontiguousarray(q0.T), np.ascontiguousarray(s)
    arguments = (shape_of(whole), float(lam), float(kappa), s, start, float(fraction))
    return float(_convergence_of_one(*arguments, evolving(whole), riccati(whole)))


def nanoseconds(sizes: Sizes) -> Array:
    """Estimate the time of the search for the time of convergence of one network on one core."""
    n = sizes.units
    return np.asarray(20_000.0 + 2000.0 * n + 3.0 * n**3)
