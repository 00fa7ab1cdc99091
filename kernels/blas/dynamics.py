"""Closed form and gradient descent of large networks: all points of a batch in one call.

Points run one after the other without the lock of Python, so that threads can share the blocks of a sweep. If
a routine of LAPACK reports an error, only its own point is NaN and FAILED.
"""

import numpy as np

from fastlin.kernels.batch import Batch, kappas_of
from fastlin.kernels.blas.evolution import begin, jump, march, prepare_march, rotate_back
from fastlin.kernels.blas.matrices import copy, is_finite
from fastlin.kernels.blas.observables import first_view, observe, plan
from fastlin.kernels.blas.routines import (
    ddot,
    dgemm_nn,
    dgemm_nt,
    dgemm_tn,
    flush_denormals,
    restore_denormals,
)
from fastlin.kernels.blas.starts import write_start, write_start_of_kind
from fastlin.kernels.blas.workspace import Evolving, Observing, Shape, evolving, observing, shape_of
from fastlin.kernels.codes import Start, Status
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.jit import Array, Call, Codes, Integers, jit
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.tolerances import BLOW_UP
from fastlin.kernels.vector.closed_form import Way, ways


@callee
def _solve_point(
    shape: Shape,
    s: Array,
    floor: float,
    lam: float,
    times: Array,
    way: Integers,
    dt: float,
    outputs: Integers,
    q0: Array,
    q: Array,
    ws: Evolving,
    view: Observing,
    out: Array,
) -> bool:
    """Write the outputs of one start q0 (H, N) at all times to out (R, T). Return whether all are finite."""
    observed = plan(shape, len(q0), s, floor, outputs, False)
    start = first_view(shape, observed, q0, view)
    count = begin(shape, lam, 0.0, s, q0, ws)
    short = prepare_march(shape, dt, ws)
    q[:] = 0.0  # columns beyond those of the echelon form stay 0
    steady, sound = is_finite(q0) and is_finite(s), True
    mode = flush_denormals()  # directions that the flow forgets decay to 0
    for index in range(times.size):
        if steady:
            if way[index] == Way.MARCH and short:
                steady = march(shape, count, ws)
            else:
                steady = jump(shape, count, times[index], ws)
        if steady:
            rotate_back(shape, ws.k_t[:count], q, ws)
            sound &= observe(shape, observed, start, outputs, s, q0, q, out, index, view)
        else:
            out[:, index] = np.nan
    restore_denormals(mode)
    return steady and sound


@jit
def _solve_points(
    shape: Shape,
    records: Array,
    lams: Array,
    each: int,
    times: Array,
    way: Integers,
    dt: float,
    outputs: Integers,
    starts: Array,
    ws: Evolving,
    view: Observing,
    out: Array,
    status: Codes,
) -> None:
    for point in range(len(records) * each):
        record, lam = records[point // each], lams[point % lams.size]
        s, floor = record[: shape.m], record[shape.m + shape.k]
        count = write_start(shape, record, lam, starts[0])
        q0, q = starts[0, :count], starts[1, :count]
        sound = _solve_point(shape, s, floor, lam, times, way, dt, outputs, q0, q, ws, view, out[:, point])
        status[point] = Status.OK if sound else Status.FAILED


def prepare_closed_form(sizes: Sizes, outputs: tuple[int, ...], batch: Batch) -> Call:
    """Return the call that solves all points; see `dispatch.closed_form`.

    Outputs past the last point are not written.
    """
    return Call(
        _solve_points,
        (
            shape_of(sizes),
            np.ascontiguousarray(batch.records),
            batch.lam,
            batch.per_record,
            batch.times,
            *ways(batch.times),
            np.array(outputs, dtype=np.int64),
            np.empty((2, sizes.width, sizes.n)),
            evolving(sizes),
            observing(sizes),
            batch.outputs,
            batch.status,
        ),
    )


@jit
def _follow(
    shape: Shape,
    lam: float,
    shrinkage: float,
    s: Array,
    q0: Array,
    times: Array,
    q: Array,
    ws: Evolving,
    path: Array,
    rate: Array,
    excess: Array,
) -> bool:
    count, steady = begin(shape, lam, shrinkage, s, q0, ws), True
    for c in range(count):
        h = count - 1 - c
        rate[h], excess[h] = ws.column_rate[c], ws.column_excess[c]
    for index in range(times.size):
        steady &= jump(shape, count, times[index], ws)
        rotate_back(shape, ws.k_t[:count], q, ws)
        for c in range(count):
            for i in range(shape.n):
                path[index, i, count - 1 - c] = q[c, i] if steady else np.nan
    return steady


def follow(
    sizes: Sizes, lam: float, s: Array, q0: Array, times: Array, shrinkage: float = 0.0
) -> tuple[Array, ...]:
    """Return the fields of `Paths` of one given start q0 (N, H): Q(t) (T, N, H), and so on."""
    n, columns = q0.shape
    ws, path = evolving(sizes), np.zeros((times.size, n, columns))
    rate, excess = np.zeros(columns), np.zeros(columns)
    start, q = np.ascontiguousarray(q0.T), np.empty((columns, n))
    target = np.ascontiguousarray(s)
    _follow(shape_of(sizes), float(lam), shrinkage, target, start, times, q, ws, path, rate, excess)
    return path, rate, excess, ws.w, ws.excess_rate


@callee
def _walk(
    shape: Shape,
    s: Array,
    rate: float,
    decay: tuple[float, float],
    steps: int,
    by_gram: bool,
    old: Array,
    new: Array,
    view: Observing,
) -> None:
    """Step Q^T (N, H) in place. `new` is scratch of the same size.

    A row of Q is contiguous here, because a Gram matrix of columns then takes 8 us at (84, 64) instead of 11.
    """
    columns, size = old.shape[1], old.size
    m, rows_i, rows_o = shape.m, shape.rows_i, shape.rows_o
    gram = view.drift
    mode = flush_denormals()  # weights in directions that the task does not have decay to 0
    for _ in range(steps):
        x, y, new_x, new_y = old[:rows_i], old[rows_i:], new[:rows_i], new[rows_i:]
        if by_gram:  # W1 += eta (W2^T S - W2^T W2 W1), W2 += eta (S W1^T - W2 W1 W1^T)
            for a in range(m):
                pull = rate * s[a]
                for h in range(columns):
                    new_x[a, h] = x[a, h] + pull * y[a, h]
                    new_y[a, h] = y[a, h] + pull * x[a, h]
            for a in range(m, rows_i):
                copy(columns, x[a], new_x[a])
            for a in range(m, rows_o):
                copy(columns, y[a], new_y[a])
            dgemm_nt(columns, columns, rows_o, rate, y, columns, y, columns, 0.0, gram, columns)
            dgemm_nn(columns, rows_i, columns, -1.0, gram, columns, x, columns, 1.0, new_x, columns)
            dgemm_nt(columns, columns, rows_i, rate, x, columns, x, columns, 0.0, gram, columns)
            dgemm_nn(columns, rows_o, columns, -1.0, gram, columns, y, columns, 1.0, new_y, columns)
        else:  # W1 += eta W2^T E, W2 += eta E W1^T, with -eta E
            copy(size, old.ravel(), new.ravel())
            error = view.product
            dgemm_tn(rows_o, rows_i, columns, rate, y, columns, x, columns, 0.0, error, rows_o)
            for a in range(m):
                error[a * (rows_o + 1)] -= rate * s[a]
            dgemm_nn(columns, rows_i, rows_o, -1.0, y, columns, error, rows_o, 1.0, new_x, columns)
            dgemm_nt(columns, rows_o, rows_i, -1.0, x, columns, error, rows_o, 1.0, new_y, columns)
        if decay[0] > 0.0 or decay[1] > 0.0:
            for i in range(len(old)):
                loss = rate * (decay[0] if i < rows_i else decay[1])
                for h in range(columns):
                    new[i, h] -= loss * old[i, h]
        old, new = new, old
    restore_denormals(mode)
    if steps % 2:
        copy(size, old.ravel(), new.ravel())


@callee
def prefers_gram(shape: Shape, columns: int) -> bool:
    """Return whether a step takes fewer operations with Gram matrices: 4 N H^2 against 6 N_i N_o H."""
    return 2 * shape.n * columns < 3 * shape.rows_i * shape.rows_o


@callee
def transpose(matrix: Array, out: Array) -> None:
    """Write the transpose of a matrix."""
    for i in range(len(matrix)):
        for h in range(matrix.shape[1]):
            out[h, i] = matrix[i, h]


@callee
def _descend_point(
    shape: Shape,
    s: Array,
    floor: float,
    rate: float,
    decay: tuple[float, float],
    strides: Integers,
    by_gram: bool,
    outputs: Integers,
    q0: Array,
    q: Array,
    states: Array,
    view: Observing,
    out: Array,
) -> int:
    """Write the outputs of one start q0 (H, N) after each of `strides` more steps to out (R, T)."""
    observed = plan(shape, len(q0), s, floor, outputs, True)
    start = first_view(shape, observed, q0, view)
    size = q.size
    bound = BLOW_UP * (ddot(size, q0, 1, q0, 1) + np.sum(s))
    columns, n = q0.shape
    state = states[:size].reshape(n, columns)
    other = states[size : 2 * size].reshape(n, columns)
    transpose(q0, state)
    sound = True
    for index in range(strides.size):
        _walk(shape, s, rate, decay, strides[index], by_gram, state, other, view)
        transpose(state, q)
        if not ddot(size, q, 1, q, 1) <= bound:
            out[:, index:] = np.nan
            return Status.DIVERGED
        sound &= observe(shape, observed, start, outputs, s, q0, q, out, index, view)
    return Status.OK if sound else Status.FAILED


@jit
def _descend_points(
    shape: Shape,
    records: Array,
    lams: Array,
    each: int,
    start: int,
    kappa: Array,
    rate: float,
    decay: tuple[float, float],
    strides: Integers,
    form: int,
    outputs: Integers,
    starts: Array,
    states: Array,
    view: Observing,
    out: Array,
    status: Codes,
) -> None:
    for point in range(len(records) * each):
        record, lam, balance = records[point // each], lams[point % lams.size], kappa[point % kappa.size]
        floor, count = write_start_of_kind(shape, start, record, lam, balance, starts[0])
        by_gram = form == 1 if form >= 0 else prefers_gram(shape, count)
        status[point] = _descend_point(
            shape,
            record[: shape.m],
            floor,
            rate,
            decay,
            strides,
            by_gram,
            outputs,
            starts[0, :count],
            starts[1, :count],
            states,
            view,
            out[:, point],
        )


def prepare_gradient_descent(
    sizes: Sizes,
    outputs: tuple[int, ...],
    batch: Batch,
    learning_rate: float,
    by_gram: bool | None = None,
    *,
    start: Start = Start.BALANCED,
    kappa: float | Array = 0.0,
    decay: tuple[float, float] = (0.0, 0.0),
) -> Call:
    """Return the call that runs all points; see `dispatch.gradient_descent`.

    `by_gram` is whether steps use Gram matrices. None chooses the form that takes fewer operations.
    """
    return Call(
        _descend_points,
        (
            shape_of(sizes),
            np.ascontiguousarray(batch.records),
            batch.lam,
            batch.per_record,
            int(start),
            kappas_of(batch, kappa),
            learning_rate,
            decay,
            np.diff(batch.times, prepend=0),
            -1 if by_gram is None else int(by_gram),
            np.array(outputs, dtype=np.int64),
            np.empty((2, sizes.width, sizes.n)),
            np.empty(2 * sizes.width * sizes.n),
            observing(sizes),
            batch.outputs,
            batch.status,
        ),
    )
