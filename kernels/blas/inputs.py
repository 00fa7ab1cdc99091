"""The flow and gradient descent of large networks on tasks with inputs that are not whitened.

Points of a batch run one after the other. A state is Q^T (N, H) as a flat array, rows of inputs first, in the
eigenbasis of Sigma_xx. Notation is that of `vector.inputs`: X, Y, Z, T and R. A matrix of H columns whose
rows are contiguous is, for BLAS, a matrix of H rows.
"""

from typing import NamedTuple

import numpy as np

from fastlin.kernels.batch import Batch, FlowControl
from fastlin.kernels.blas.dynamics import transpose
from fastlin.kernels.blas.matrices import copy
from fastlin.kernels.blas.observables import effective_rank
from fastlin.kernels.blas.routines import (
    ddot,
    dgemm_nn,
    dgemm_nt,
    dgemm_tn,
    flush_denormals,
    restore_denormals,
)
from fastlin.kernels.blas.workspace import Observing, Shape, observing, shape_of
from fastlin.kernels.codes import Output, Status
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.jit import Array, Call, Codes, Integers, jit
from fastlin.kernels.dormand_prince import Progress, begin, progress, stepper
from fastlin.kernels.sizes import InputsRecord, Sizes
from fastlin.kernels.tolerances import BLOW_UP


class _Places(NamedTuple):
    """Positions in a record (see `InputsRecord`)."""

    c: int
    floor: int
    total: int
    v: int


class _Problem(NamedTuple):
    """The task of one network, and memory for a derivative."""

    shape: Shape
    decay: tuple[float, float]
    root: Array  # (N_i,) sqrt(c)
    target: Array  # (N_i N_o,) T^T
    weighted: Array  # (N_i H,) Z
    error: Array  # (N_i N_o,) -R^T


class _Seen(NamedTuple):
    """Memory for the outputs of a network. Gram matrices and products are (H H,)."""

    start: Array  # (N H,) the state at the start
    weighted_start: Array  # (N_i H,)
    gram_i: Array  # X^T X
    gram_z: Array  # Z^T Z
    gram_o: Array  # Y^T Y
    cross_z: Array  # Z^T Z(0)
    cross_o: Array  # Y^T Y(0)
    drift: Array  # Y^T Y - X^T X at the start
    norms: Array  # (3,) tr(Z^T diag(c) Z), |Y|^2 and the norm of the NTK at the start
    q: Array  # (H, N)


@callee
def _read(places: _Places, record: Array, problem: _Problem, seen: _Seen) -> float:
    """Write the task and the start of a record, and return the floor of the loss."""
    n_i, n_o = problem.shape.n_i, problem.shape.n_o
    for i in range(n_i):
        c = record[places.c + i]
        problem.root[i] = np.sqrt(c)
        for o in range(n_o):
            problem.target[i * n_o + o] = record[o * n_i + i] / problem.root[i] if c > 0.0 else 0.0
    copy(seen.start.size, record[places.v :], seen.start)
    return float(record[places.floor])


@callee
def _weigh(problem: _Problem, state: Array, out: Array) -> None:
    """Write Z of a state."""
    columns = state.size // problem.shape.n
    for i in range(problem.shape.n_i):
        for place in range(i * columns, (i + 1) * columns):
            out[place] = problem.root[i] * state[place]


@callee
def _write_error(problem: _Problem, state: Array) -> None:
    """Write Z and -R^T of a state."""
    n_i, n_o = problem.shape.n_i, problem.shape.n_o
    columns, error = state.size // problem.shape.n, problem.error
    _weigh(problem, state, problem.weighted)
    y = state[n_i * columns :]
    dgemm_tn(n_o, n_i, columns, 1.0, y, columns, problem.weighted, columns, 0.0, error, n_o)
    for place in range(error.size):
        error[place] -= problem.target[place]


@callee
def _derivative(problem: _Problem, state: Array, out: Array) -> None:
    """Write ``X' = diag(c)^(1/2) R^T Y - d1 X`` and ``Y' = R Z - d2 Y``."""
    n_i, n_o, decay = problem.shape.n_i, problem.shape.n_o, problem.decay
    columns = state.size // problem.shape.n
    end = n_i * columns
    _write_error(problem, state)
    error, y = problem.error, state[end:]
    dgemm_nn(columns, n_i, n_o, -1.0, y, columns, error, n_o, 0.0, out, columns)
    dgemm_nt(columns, n_o, n_i, -1.0, problem.weighted, columns, error, n_o, 0.0, out[end:], columns)
    for i in range(n_i):
        for place in range(i * columns, (i + 1) * columns):
            out[place] = problem.root[i] * out[place] - decay[0] * state[place]
    for place in range(end, state.size):
        out[place] -= decay[1] * state[place]


_reach = stepper(_derivative)


@callee
def _gram(columns: int, rows: int, x: Array, y: Array, out: Array) -> None:
    """Write X^T Y."""
    dgemm_nt(columns, columns, rows, 1.0, x, columns, y, columns, 0.0, out, columns)


@callee
def _square(x: Array) -> float:
    return float(ddot(x.size, x, 1, x, 1))


@callee
def _see(problem: _Problem, state: Array, seen: _Seen) -> tuple[float, float, float]:
    """Write Z and the Gram matrices, and return tr(Z^T diag(c) Z), |Y|^2 and the norm of the NTK."""
    shape = problem.shape
    columns = state.size // shape.n
    x, y, z = state[: shape.n_i * columns], state[shape.n_i * columns :], problem.weighted
    _weigh(problem, state, z)
    _gram(columns, shape.n_i, z, z, seen.gram_z)
    _gram(columns, shape.n_o, y, y, seen.gram_o)
    _gram(columns, shape.n_i, x, x, seen.gram_i)
    trace_i, spread = 0.0, 0.0
    for i in range(shape.n_i):
        row, c = z[i * columns : (i + 1) * columns], problem.root[i] ** 2
        trace_i += c * _square(row)
        spread += c * c
    trace_o = _square(y)
    square = shape.n_o * _square(seen.gram_z) + spread * _square(seen.gram_o) + 2.0 * trace_i * trace_o
    return trace_i, trace_o, float(np.sqrt(square))


@callee
def _begin_view(problem: _Problem, seen: _Seen) -> None:
    """Keep the norms and the balance of the start."""
    trace_i, trace_o, norm = _see(problem, seen.start, seen)
    seen.norms[0], seen.norms[1], seen.norms[2] = trace_i, trace_o, norm
    copy(problem.weighted.size, problem.weighted, seen.weighted_start)
    for place in range(seen.drift.size):
        seen.drift[place] = seen.gram_o[place] - seen.gram_i[place]


@callee
def _kernel_distance(
    problem: _Problem, state: Array, seen: _Seen, trace_i: float, trace_o: float, norm: float
) -> float:
    """Return 1 - <K_0, K_t> / (|K_0| |K_t|). Rounding must not make it negative."""
    shape, spread = problem.shape, 0.0
    columns = state.size // shape.n
    end = shape.n_i * columns
    _gram(columns, shape.n_i, problem.weighted, seen.weighted_start, seen.cross_z)
    _gram(columns, shape.n_o, state[end:], seen.start[end:], seen.cross_o)
    for i in range(shape.n_i):
        spread += problem.root[i] ** 4
    product = shape.n_o * _square(seen.cross_z) + spread * _square(seen.cross_o)
    product += seen.norms[0] * trace_o + seen.norms[1] * trace_i
    cosine = product / (seen.norms[2] * norm)
    # Written so that NaN stays NaN.
    return 0.0 if cosine > 1.0 else 1.0 - cosine


@callee
def _observe(
    problem: _Problem,
    floor: float,
    outputs: Integers,
    state: Array,
    seen: _Seen,
    view: Observing,
    out: Array,
    index: int,
) -> bool:
    """Write the outputs of a state to out[:, index], and return whether all are finite."""
    shape = problem.shape
    columns, finite = state.size // shape.n, True
    trace_i, trace_o, norm = _see(problem, state, seen)
    for place in range(outputs.size):
        output, value = outputs[place], 0.0
        if output == Output.LOSS:
            _write_error(problem, state)
            value = floor + 0.5 * _square(problem.error)
        elif output == Output.KERNEL_DISTANCE:
            value = _kernel_distance(problem, state, seen, trace_i, trace_o, norm)
        elif output == Output.NTK_NORM:
            value = norm
        elif output == Output.W1_NORM:
            value = np.sqrt(_square(state[: shape.n_i * columns]))
        elif output == Output.W2_NORM:
            value = np.sqrt(trace_o)
        elif output == Output.BALANCE_DRIFT:
            for entry in range(seen.drift.size):
                value += (seen.gram_o[entry] - seen.gram_i[entry] - seen.drift[entry]) ** 2
            value = np.sqrt(value)
        elif output == Output.EFFECTIVE_RANK:
            transpose(state.reshape(shape.n, columns), seen.q)
            value = effective_rank(shape, columns, seen.q, view)
        out[place, index] = value
        finite &= np.isfinite(value)
    return finite


@callee
def _flow_point(
    problem: _Problem,
    floor: float,
    times: Array,
    control: FlowControl,
    outputs: Integers,
    run: Progress,
    seen: _Seen,
    view: Observing,
    out: Array,
) -> int:
    """Write the outputs of one start at all times to out (R, T), and return a `Status`."""
    largest, sigma = 0.0, 0.0
    for i in range(problem.shape.n_i):
        c = problem.root[i] ** 2
        largest = max(largest, c)
        row = problem.target[i * problem.shape.n_o : (i + 1) * problem.shape.n_o]
        sigma += c * _square(row)
    _begin_view(problem, seen)
    begin(run, largest * _square(seen.start) + np.sqrt(sigma) + problem.decay[0] + problem.decay[1])
    copy(seen.start.size, seen.start, run.state)
    sound = True
    for index in range(times.size):
        status = _reach(problem, run, times[index], control)
        if status != Status.OK:
            out[:, index:] = np.nan
            return status
        sound &= _observe(problem, floor, outputs, run.state, seen, view, out, index)
    return Status.OK if sound else Status.FAILED


@callee
def _descend_point(
    problem: _Problem,
    floor: float,
    bound: float,
    rate: float,
    strides: Integers,
    outputs: Integers,
    run: Progress,
    seen: _Seen,
    view: Observing,
    out: Array,
) -> int:
    """Write the outputs of one start after each of `strides` more steps to out (R, T)."""
    state, change, sound = run.state, run.trial, True
    _begin_view(problem, seen)
    copy(seen.start.size, seen.start, state)
    bound += BLOW_UP * _square(state)
    for index in range(strides.size):
        for _ in range(strides[index]):
            _derivative(problem, state, change)
            for place in range(state.size):
                state[place] += rate * change[place]
        if not _square(state) <= bound:
            out[:, index:] = np.nan
            return Status.DIVERGED
        sound &= _observe(problem, floor, outputs, state, seen, view, out, index)
    return Status.OK if sound else Status.FAILED


@jit
def _flow_points(
    places: _Places,
    records: Array,
    each: int,
    problem: _Problem,
    times: Array,
    control: FlowControl,
    outputs: Integers,
    run: Progress,
    seen: _Seen,
    view: Observing,
    out: Array,
    status: Codes,
    steps: Integers,
) -> None:
    before = flush_denormals()  # weights in directions that the task does not have decay to 0
    for point in range(len(records) * each):
        floor = _read(places, records[point // each], problem, seen)
        status[point] = _flow_point(problem, floor, times, control, outputs, run, seen, view, out[:, point])
        steps[point] = run.counts[1]
    restore_denormals(before)


@jit
def _descend_points(
    places: _Places,
    records: Array,
    each: int,
    problem: _Problem,
    rate: float,
    strides: Integers,
    outputs: Integers,
    run: Progress,
    seen: _Seen,
    view: Observing,
    out: Array,
    status: Codes,
) -> None:
    before = flush_denormals()
    for point in range(len(records) * each):
        record = records[point // each]
        floor, bound = _read(places, record, problem, seen), BLOW_UP * record[places.total]
        status[point] = _descend_point(
            problem, floor, bound, rate, strides, outputs, run, seen, view, out[:, point]
        )
    restore_denormals(before)


def _memory(sizes: Sizes, decay: tuple[float, float]) -> tuple[_Places, _Problem, Progress, _Seen]:
    at, width = InputsRecord(sizes), sizes.width
    places = _Places(at.c, at.floor, at.total, at.v)
    weighted, weighted_start = np.empty((2, sizes.n_i * width))
    target, error = np.empty((2, sizes.n_i * sizes.n_o))
    problem = _Problem(shape_of(sizes), decay, np.empty(sizes.n_i), target, weighted, error)
    gram_i, gram_z, gram_o, cross_z, cross_o, drift = np.empty((6, width * width))
    seen = _Seen(
        start=np.empty(sizes.n * width),
        weighted_start=weighted_start,
        gram_i=gram_i,
        gram_z=gram_z,
        gram_o=gram_o,
        cross_z=cross_z,
        cross_o=cross_o,
        drift=drift,
        norms=np.empty(3),
        q=np.empty((width, sizes.n)),
    )
    return places, problem, progress(seen.start.size), seen


def prepare_flow(
    sizes: Sizes,
    outputs: tuple[int, ...],
    batch: Batch,
    control: FlowControl,
    decay: tuple[float, float],
) -> Call:
    """Return the call that integrates all points (see `dispatch.flow`). The sizes are ``unreduced``."""
    places, problem, run, seen = _memory(sizes, decay)
    return Call(
        _flow_points,
        (
            places,
            np.ascontiguousarray(batch.records),
            batch.per_record,
            problem,
            batch.times,
            control,
            np.array(outputs, dtype=np.int64),
            run,
            seen,
            observing(sizes),
            batch.outputs,
            batch.status,
            np.zeros(batch.points, dtype=np.int64),
        ),
    )


def prepare_gradient_descent(
    sizes: Sizes,
    outputs: tuple[int, ...],
    batch: Batch,
    learning_rate: float,
    decay: tuple[float, float],
) -> Call:
    """Return the call that runs all points (see `dispatch.gradient_descent`)."""
    places, problem, run, seen = _memory(sizes, decay)
    return Call(
        _descend_points,
        (
            places,
            np.ascontiguousarray(batch.records),
            batch.per_record,
            problem,
            learning_rate,
            np.diff(batch.times, prepend=0),
            np.array(outputs, dtype=np.int64),
            run,
            seen,
            observing(sizes),
            batch.outputs,
            batch.status,
        ),
    )
