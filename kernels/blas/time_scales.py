"""Time scales of large networks, one at a time (see `vector.time_scales`)."""

import numpy as np

from fastlin.kernels.batch import Batch
from fastlin.kernels.blas.evolution import begin, jump, rotate_back, squared_rows
from fastlin.kernels.blas.matrices import is_finite
from fastlin.kernels.blas.observables import Plan, Start, first_view, observe, plan
from fastlin.kernels.blas.routines import flush_denormals, restore_denormals
from fastlin.kernels.blas.starts import write_start
from fastlin.kernels.blas.workspace import Evolving, Observing, Shape, evolving, observing, shape_of
from fastlin.kernels.codes import Output, Scale, Status
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.jit import Array, Call, Codes, Integers, jit
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.tolerances import AT_REST, CLOSED, LONGEST_SEARCH, TIE

_ITERATIONS = 10_000  # limit of Brent's method, which may bisect from any number to its neighbour
_TINY = float(np.finfo(float).tiny)
_LOSS = np.array([Output.LOSS], dtype=np.int64)


@callee
def _rotation(shape: Shape, lam: float, s: Array) -> float:
    """Return 1 / the least difference between a kept and a dropped eigenvalue, or 0.

    All eigenvalues count, also those of directions that `Sizes` leaves out.
    """
    half, m, whole = 0.5 * abs(lam), shape.m, shape.n_i + shape.n_o
    w, excess = np.zeros(whole), np.zeros(whole)
    w[m : whole - m] = 0.5 * lam if shape.n_o > shape.n_i else -0.5 * lam
    for a in range(m):
        r = np.hypot(s[a], half)
        w[a], w[whole - 1 - a] = r, -r
        excess[a] = s[a] * (s[a] / (r + half if r > 0.0 else 1.0))
    tie, least = whole * TIE * excess[0], np.inf
    for kept in range(min(shape.n_h, whole)):
        if not w[kept] > 0.0:
            continue
        for dropped in range(shape.n_h, whole):
            gap = excess[kept] - excess[dropped] if w[dropped] > 0.0 else w[kept] - w[dropped]
            if tie < gap < least:
                least = gap
    return 1.0 / least if least < np.inf else 0.0


@callee
def _escape(shape: Shape, count: int, ws: Evolving) -> float:
    """Return the least log(2 w / x - 1) / (2 w) of all modes, where x is the squared norm of a mode."""
    size, first = ws.root[: shape.m], np.inf
    squared_rows(count, shape.m, ws.k, size)
    for a in range(shape.m):
        w, x = ws.w[a], size[a]
        if x > 0.0 and w > 0.0:
            first = min(first, np.log(max((2.0 * w - x) / x, 1.0)) / (2.0 * w))
    return first


@callee
def _loss(
    shape: Shape,
    observed: Plan,
    start: Start,
    outputs: Integers,
    s: Array,
    q0: Array,
    q: Array,
    view: Observing,
) -> float:
    out = np.empty((1, 1))
    observe(shape, observed, start, outputs, s, q0, q, out, 0, view)
    return float(out[0, 0])


@callee
def _excess(
    shape: Shape,
    count: int,
    t: float,
    goal: float,
    observed: Plan,
    start: Start,
    outputs: Integers,
    s: Array,
    q0: Array,
    q: Array,
    ws: Evolving,
    view: Observing,
) -> float:
    """Return the excess of the loss over the goal at a time."""
    if not jump(shape, count, t, ws):
        return np.nan
    rotate_back(shape, ws.k_t[:count], q, ws)
    return _loss(shape, observed, start, outputs, s, q0, q, view) - goal


@callee
def _convergence(
    shape: Shape,
    count: int,
    s: Array,
    q0: Array,
    q: Array,
    fraction: float,
    outputs: Integers,
    ws: Evolving,
    view: Observing,
) -> float:
    """Return the time of convergence by Brent's method. The search for a bracket multiplies time by 4."""
    least, total = 0.0, 0.0
    for a in range(shape.m):
        total += s[a] * s[a]
        if a >= min(shape.n_h, shape.m):
            least += s[a] * s[a]
    # The loss is measured from the least that can be reached, so that it does not cancel with the floor.
    observed = plan(shape, len(q0), s, -0.5 * least, outputs, False)
    start = first_view(shape, observed, q0, view)
    first = _loss(shape, observed, start, outputs, s, q0, q0, view)
    goal = (1.0 - fraction) * first
    if first <= AT_REST * (first + total) or first <= goal:
        return 0.0
    q[:, :] = 0.0
    if not _excess(shape, count, np.inf, goal, observed, start, outputs, s, q0, q, ws, view) < 0.0:
        return np.inf
    early, late = 0.0, 0.25 / (ws.w[0] if ws.w[0] != 0.0 else 1.0)
    at_early, at_late = first - goal, np.nan
    for _ in range(LONGEST_SEARCH):
        at_late = _excess(shape, count, late, goal, observed, start, outputs, s, q0, q, ws, view)
        if at_late <= 0.0:
            break
        early, at_early, late = late, at_late, 4.0 * late
    if not at_late <= 0.0:
        return np.inf if at_late > 0.0 else np.nan
    # Brent (1973), chapter 4: `best` is the best estimate, and the root is between it and `far`.
    old, at_old, best, at_best = early, at_early, late, at_late
    far, at_far, before, step = old, at_old, 0.0, 0.0
    for _ in range(_ITERATIONS):
        if at_old != 0.0 and at_best != 0.0 and (at_old > 0.0) != (at_best > 0.0):
            far, at_far = old, at_old
            before = step = best - old
        if abs(at_far) < abs(at_best):
            old, best, far = best, far, best
            at_old, at_best, at_far = at_best, at_far, at_best
        least_step = 0.5 * (_TINY + CLOSED * abs(best))
        half = 0.5 * (far - best)
        if at_best == 0.0 or abs(half) < least_step:
            return best
        if abs(before) > least_step and abs(at_best) < abs(at_old):
            if old == far:
                guess = -at_best * (best - old) / (at_best - at_old)
            else:
                slope_old = (at_old - at_best) / (old - best)
                slope_far = (at_far - at_best) / (far - best)
                guess = -at_best * (at_far * slope_far - at_old * slope_old)
                guess /= slope_far * slope_old * (at_far - at_old)
            if 2.0 * abs(guess) < min(abs(before), 3.0 * abs(half) - least_step):
                before, step = step, guess
            else:
                before = step = half
        else:
            before = step = half
        old, at_old = best, at_best
        if abs(step) > least_step:
            best += step
        else:
            best += least_step if half > 0.0 else -least_step
        at_best = _excess(shape, count, best, goal, observed, start, outputs, s, q0, q, ws, view)
        if np.isnan(at_best):
            return np.nan
    return best


@callee
def _scales_of(
    shape: Shape,
    lam: float,
    s: Array,
    q0: Array,
    q: Array,
    fraction: float,
    which: Integers,
    outputs: Integers,
    ws: Evolving,
    view: Observing,
    out: Array,
) -> bool:
    """Write the time scales of one start q0 (H, N) to out (R,), and return whether none is NaN."""
    if not is_finite(q0) or not is_finite(s):
        out[:] = np.nan
        return False
    count, sound = begin(shape, lam, 0.0, s, q0, ws), True
    for index in range(which.size):
        value = np.nan
        if which[index] == Scale.ROTATION:
            value = _rotation(shape, lam, s)
        elif which[index] == Scale.ESCAPE:
            value = _escape(shape, count, ws)
        elif which[index] == Scale.CONVERGENCE:
            mode = flush_denormals()
            value = _convergence(shape, count, s, q0, q, fraction, outputs, ws, view)
            restore_denormals(mode)
        out[index] = value
        sound &= not np.isnan(value)
    return sound


@jit
def _scales_of_points(
    shape: Shape,
    records: Array,
    lams: Array,
    each: int,
    fraction: float,
    which: Integers,
    outputs: Integers,
    starts: Array,
    ws: Evolving,
    view: Observing,
    out: Array,
    status: Codes,
) -> None:
    for point in range(len(records) * each):
        record, lam = records[point // each], lams[point % lams.size]
        count = write_start(shape, record, lam, starts[0])
        q0, q, s = starts[0, :count], starts[1, :count], record[: shape.m]
        sound = _scales_of(shape, lam, s, q0, q, fraction, which, outputs, ws, view, out[:, point])
        status[point] = Status.OK if sound else Status.FAILED


@jit
def _scales_of_starts(
    shape: Shape,
    lams: Array,
    s: Array,
    starts: Array,
    q: Array,
    fraction: float,
    which: Integers,
    outputs: Integers,
    ws: Evolving,
    view: Observing,
    out: Array,
) -> None:
    for point in range(lams.size):
        _scales_of(
            shape, lams[point], s[point], starts[point], q, fraction, which, outputs, ws, view, out[point]
        )


def scales_of(sizes: Sizes, lams: Array, s: Array, q0: Array, fraction: float, which: Integers) -> Array:
    """Return time scales (P, R) of networks with given starts q0 (P, N, H), lams (P,) and s (P, m)."""
    starts = np.ascontiguousarray(np.swapaxes(q0, -1, -2), dtype=np.float64)
    scales = np.empty((len(starts), len(which)))
    _scales_of_starts(
        shape_of(sizes),
        np.ascontiguousarray(lams, dtype=np.float64),
        np.ascontiguousarray(s, dtype=np.float64),
        starts,
        np.empty(starts.shape[1:]),
        float(fraction),
        np.asarray(which, dtype=np.int64),
        _LOSS,
        evolving(sizes),
        observing(sizes),
        scales,
    )
    return scales


def prepare(sizes: Sizes, scales: tuple[int, ...], batch: Batch, fraction: float) -> Call:
    """Return the call that finds the time scales of all points (see `dispatch.time_scales`)."""
    return Call(
        _scales_of_points,
        (
            shape_of(sizes),
            np.ascontiguousarray(batch.records),
            batch.lam,
            batch.per_record,
            fraction,
            np.array(scales, dtype=np.int64),
            _LOSS,
            np.empty((2, sizes.width, sizes.n)),
            evolving(sizes),
            observing(sizes),
            batch.outputs[..., 0],
            batch.status,
        ),
    )
