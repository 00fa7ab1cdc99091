"""The flow of large networks from any start: all points of a batch, one after the other.

Steps are those of `dormand_prince`. A state is Q^T (N, H) in the SVD basis of the task.
"""

from typing import NamedTuple

import numpy as np

from fastlin.kernels.batch import Batch, FlowControl, kappas_of
from fastlin.kernels.blas.dynamics import prefers_gram, transpose
from fastlin.kernels.blas.observables import first_view, observe, plan
from fastlin.kernels.blas.routines import (
    ddot,
    dgemm_nn,
    dgemm_nt,
    dgemm_tn,
    flush_denormals,
    restore_denormals,
)
from fastlin.kernels.blas.starts import write_start_of_kind
from fastlin.kernels.blas.workspace import Observing, Shape, observing, shape_of
from fastlin.kernels.codes import Start, Status
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.jit import Array, Call, Codes, Integers, jit
from fastlin.kernels.dormand_prince import STAGES, Progress, begin, stepper
from fastlin.kernels.sizes import Sizes


class _Problem(NamedTuple):
    """The task of one network in its SVD basis, and memory for a derivative."""

    shape: Shape
    s: Array  # (m,)
    decay: tuple[float, float]
    by_gram: bool
    gram: Array  # (H H,)
    error: Array  # (N_i N_o,)


@callee
def _derivative(problem: _Problem, state: Array, out: Array) -> None:
    """Write ``X' = S^T Y - X (Y^T Y + d1)`` and ``Y' = S X - Y (X^T X + d2)`` in the better order."""
    shape, s = problem.shape, problem.s
    m, n, rows_i, rows_o = shape.m, shape.n, shape.rows_i, shape.rows_o
    columns = state.size // n
    end = rows_i * columns
    x, y, new_x, new_y = state[:end], state[end:], out[:end], out[end:]
    for place in range(state.size):
        out[place] = -problem.decay[0 if place < end else 1] * state[place]
    if problem.by_gram:
        for a in range(m):
            for place in range(a * columns, (a + 1) * columns):
                new_x[place] += s[a] * y[place]
                new_y[place] += s[a] * x[place]
        gram = problem.gram
        dgemm_nt(columns, columns, rows_o, 1.0, y, columns, y, columns, 0.0, gram, columns)
        dgemm_nn(columns, rows_i, columns, -1.0, gram, columns, x, columns, 1.0, new_x, columns)
        dgemm_nt(columns, columns, rows_i, 1.0, x, columns, x, columns, 0.0, gram, columns)
        dgemm_nn(columns, rows_o, columns, -1.0, gram, columns, y, columns, 1.0, new_y, columns)
    else:
        error = problem.error
        dgemm_tn(rows_o, rows_i, columns, 1.0, y, columns, x, columns, 0.0, error, rows_o)
        for a in range(m):
            error[a * (rows_o + 1)] -= s[a]
        dgemm_nn(columns, rows_i, rows_o, -1.0, y, columns, error, rows_o, 1.0, new_x, columns)
        dgemm_nt(columns, rows_o, rows_i, -1.0, x, columns, error, rows_o, 1.0, new_y, columns)


_reach = stepper(_derivative)
_COUNT = len(STAGES)


@callee
def _arrays_of(size: int, memory: Array, clock: Array, counts: Integers) -> Progress:
    """Return the arrays of a run for a state of `size` numbers."""
    derivatives = memory[2 * size : (2 + _COUNT) * size].reshape(_COUNT, size)
    return Progress(memory[:size], derivatives, memory[size : 2 * size], clock, counts)


@callee
def _flow_point(
    problem: _Problem,
    floor: float,
    times: Array,
    control: FlowControl,
    outputs: Integers,
    q0: Array,
    q: Array,
    run: Progress,
    view: Observing,
    out: Array,
) -> int:
    """Write the outputs of one start q0 (H, N) at all times to out (R, T), and return a `Status`."""
    shape, s = problem.shape, problem.s
    observed = plan(shape, len(q0), s, floor, outputs, True)
    start = first_view(shape, observed, q0, view)
    size, sound = q.size, True
    state = run.state.reshape(shape.n, len(q0))
    transpose(q0, state)
    curvature = ddot(size, q0, 1, q0, 1) + s[0] + problem.decay[0] + problem.decay[1] + 0.0 * np.sum(s)
    begin(run, curvature)
    for index in range(times.size):
        status = _reach(problem, run, times[index], control)
        if status != Status.OK:
            out[:, index:] = np.nan
            return status
        transpose(state, q)
        sound &= observe(shape, observed, start, outputs, s, q0, q, out, index, view)
    return Status.OK if sound else Status.FAILED


@jit
def _flow_points(
    shape: Shape,
    start: int,
    records: Array,
    lams: Array,
    each: int,
    kappa: Array,
    decay: tuple[float, float],
    times: Array,
    control: FlowControl,
    outputs: Integers,
    starts: Array,
    memory: Array,
    clock: Array,
    counts: Integers,
    view: Observing,
    out: Array,
    status: Codes,
    steps: Integers,
) -> None:
    before = flush_denormals()  # weights in directions that the task does not have decay to 0
    for point in range(len(records) * each):
        record, lam, balance = records[point // each], lams[point % lams.size], kappa[point % kappa.size]
        s = record[: shape.m]
        floor, count = write_start_of_kind(shape, start, record, lam, balance, starts[0])
        run = _arrays_of(count * shape.n, memory, clock, counts)
        problem = _Problem(shape, s, decay, prefers_gram(shape, count), view.drift, view.product)
        status[point] = _flow_point(
            problem,
            floor,
            times,
            control,
            outputs,
            starts[0, :count],
            starts[1, :count],
            run,
            view,
            out[:, point],
        )
        steps[point] = counts[1]
    restore_denormals(before)


def prepare(
    sizes: Sizes,
    outputs: tuple[int, ...],
    batch: Batch,
    control: FlowControl,
    start: Start,
    kappa: float | Array,
    decay: tuple[float, float],
) -> Call:
    """Return the call that integrates all points (see `dispatch.flow`). The sizes are those of a start."""
    length = sizes.width * sizes.n
    return Call(
        _flow_points,
        (
            shape_of(sizes),
            int(start),
            np.ascontiguousarray(batch.records),
            batch.lam,
            batch.per_record,
            kappas_of(batch, kappa),
            decay,
            batch.times,
            control,
            np.array(outputs, dtype=np.int64),
            np.empty((2, sizes.width, sizes.n)),
            np.empty((2 + len(STAGES)) * length),
            np.empty(3),
            np.empty(2, dtype=np.int64),
            observing(sizes),
            batch.outputs,
            batch.status,
            np.zeros(batch.points, dtype=np.int64),
        ),
    )
