"""The closed form of many networks at any times: a vector is eight points."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from fastlin.kernels.batch import VECTORS, Batch
from fastlin.kernels.codes import Status
from fastlin.kernels.compiler.arithmetic import fma, select
from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.jit import Array, Call, Integers, jit
from fastlin.kernels.compiler.memory import Memory as Lanes
from fastlin.kernels.compiler.memory import Numbers
from fastlin.kernels.compiler.protocols import Code
from fastlin.kernels.compiler.static import CompileTime
from fastlin.kernels.compiler.tracing import traced
from fastlin.kernels.compiler.values import WIDTH, Index, Lane
from fastlin.kernels.compiler.workspace import part
from fastlin.kernels.sizes import Sizes, UnreducedSizes
from fastlin.kernels.tolerances import EPSILON
from fastlin.kernels.vector.balance import start_point
from fastlin.kernels.vector.echelon import echelon
from fastlin.kernels.vector.eigenbasis import eigen_system, shift_eigenvalues, to_eigenbasis
from fastlin.kernels.vector.evolution import jump_to_time, limit
from fastlin.kernels.vector.forms import Form, form
from fastlin.kernels.vector.march import enter, march, outgrown, prepare_march, renew
from fastlin.kernels.vector.observables import Observer, observe_start
from fastlin.kernels.vector.points import Points, over_points
from fastlin.kernels.vector.state import Dynamics


class Way(IntEnum):
    """The way in which a time is reached."""

    JUMP = 0  # from the start
    MARCH = 1  # by dt from the time before
    LIMIT = 2  # t = inf


def ways(times: Array) -> tuple[Integers, float]:
    """Return the `Way` to each time, and the step dt of the uniform grid that the times begin with.

    A grid has at least two steps. Its times may have rounding errors.
    """
    way = np.where(np.isinf(times), Way.LIMIT, Way.JUMP).astype(np.int64)
    if times.size < 3 or not 0.0 < times[1] - times[0] < np.inf:
        return way, 0.0
    dt = times[1] - times[0]
    ideal = times[0] + dt * np.arange(times.size)
    with np.errstate(invalid="ignore"):
        off = ~(np.abs(times - ideal) <= 4 * EPSILON * times.size * np.abs(ideal))
    count = int(np.argmax(off)) if off.any() else times.size
    if count < 3:
        return way, 0.0
    way[1:count] = Way.MARCH
    return way, float((times[count - 1] - times[0]) / (count - 1))


@part()
def begin(code: Code, ws: Dynamics) -> None:
    """Go from the start in the SVD basis to K in echelon form."""
    eigen_system(code, ws)
    to_eigenbasis(code, ws)
    echelon(code, ws)


@part()
def begin_shrinking(code: Code, ws: Dynamics) -> None:
    """Go from the start to K in echelon form, with weight decay."""
    eigen_system(code, ws)
    shift_eigenvalues(code, ws)
    to_eigenbasis(code, ws)
    echelon(code, ws)


@part()
def jump_shrinking(code: Code, ws: Dynamics) -> None:
    """Jump to a time with weight decay."""
    jump_to_time(code, ws, True)


@part()
def limit_shrinking(code: Code, ws: Dynamics) -> None:
    """Go to t = inf with weight decay."""
    limit(code, ws, True)


@part(reads="short", writes="jumping")
def _advance(code: VectorCode, ws: Dynamics, index: Index, way: Numbers) -> None:
    """Bring Q in q to the time in `time`. Its index is `index`."""
    marching, jump = code.equal(way[index], Way.MARCH), code.equal(way[index], Way.JUMP)
    short: Any = ws.short[()] > 0.0
    jumping = code.mask(jump) | (code.mask(marching) & ~short)

    def go_on() -> None:
        code.given(code.equal(way[index - 1], Way.JUMP), lambda: ws.call(code, enter))
        ws.call(code, march)
        with code.when(outgrown(code, ws)):
            ws.call(code, renew)

    code.given(marching, go_on)
    with code.when(jumping):
        ws.jumping[()] = select(jumping, 1.0, 0.0)
        ws.call(code, jump_to_time)
    code.given(code.equal(way[index], Way.LIMIT), lambda: ws.call(code, limit))


@part(writes="short nonfinite")
def _start(code: VectorCode, ws: Dynamics, points: Points, vector: Index, dt: Lane) -> None:
    """Bring a vector of points to t = 0."""
    start_point(code, ws, points.lam(vector), points.records(vector))
    ws.call(code, begin)
    ws.call(code, observe_start)
    ws.short[()] = select(prepare_march(code, ws, dt), 1.0, 0.0)
    ws.nonfinite[()] = 0.0


@part(reads="outputs recent nonfinite", writes="recent nonfinite")
def record(
    code: VectorCode, ws: Dynamics, outputs: tuple[int, ...], points: Points, vector: Index, index: Index
) -> None:
    """Keep the outputs of one time. After every WIDTH times, write their outputs as whole vectors."""
    for output in outputs:
        value = ws.outputs[output]
        ws.recent[output, index % WIDTH] = value
        # The sum is NaN from the first output that is not finite.
        ws.nonfinite[()] = fma(value, 0.0, ws.nonfinite[()])

    def write() -> None:
        target = points.outputs(vector)
        for column, output in enumerate(outputs):
            at = index + points.output_size * column
            latest: list[Any] = [ws.recent[output, slot] for slot in range(WIDTH)]
            target.put(at - (WIDTH - 1), latest)
            target.prefetch(at + WIDTH)

    code.given(code.equal(index % WIDTH, WIDTH - 1), write)


@part(reads="recent nonfinite")
def finish(
    code: VectorCode, ws: Dynamics, outputs: tuple[int, ...], points: Points, vector: Index, times: Index
) -> None:
    """Write the outputs of the last times, and the status."""
    target = points.outputs(vector)
    for index in code.loop(times - times % WIDTH, times):
        for column, output in enumerate(outputs):
            target[index + points.output_size * column] = ws.recent[output, index % WIDTH]
    finite = ws.nonfinite[()] >= 0.0
    points.store_status(vector, select(finite, float(Status.OK), float(Status.FAILED)))


@traced()
def _solve(
    code: VectorCode, outputs: tuple[int, ...], work: Numbers, batch: Batch, way: Numbers, dt: Lane
) -> None:
    """Solve all points at all times, `VECTORS` vectors in turn, and write their outputs."""
    observer, times = Observer(outputs, drifts=False), batch.times.shape[0]

    def vectors() -> Iterator[tuple[Index, Dynamics]]:
        for vector in code.loop(0, VECTORS):
            yield vector, Dynamics.open(code, work.at(vector * Dynamics.doubles(code.sizes)))

    for points in over_points(code, batch, VECTORS):
        for vector, ws in vectors():
            _start(code, ws, points, vector, dt)
        with code.flushing():  # directions that the flow forgets decay to 0
            for index in code.loop(0, times):
                for _, ws in vectors():
                    ws.time[()] = batch.times[index]
                    _advance(code, ws, index, way)
                for vector, ws in vectors():
                    observer.observe(code, ws)
                    record(code, ws, outputs, points, vector, index)
        for vector, ws in vectors():
            finish(code, ws, outputs, points, vector, times)


@jit
def _closed_form(
    sizes: Form, outputs: CompileTime, work: Array, batch: Batch, way: Integers, dt: float
) -> None:
    _solve(sizes, outputs, work, batch, way, dt)


def prepare(sizes: Sizes, outputs: tuple[int, ...], batch: Batch, specialise: bool) -> Call:
    """Return the call that solves all points (see `dispatch.closed_form`)."""
    compiled_for, work = form(sizes, Dynamics, specialise=specialise), Dynamics.allocate(sizes, VECTORS)
    return Call(_closed_form, (compiled_for, CompileTime(outputs), work, batch, *ways(batch.times)))


def nanoseconds(sizes: Sizes, times: Array) -> Array:
    """Estimate the time of one network at all times on one core.

    The constants were fitted to 40 architectures of 1 to 100 units a layer on an Intel Xeon with AVX-512
    (`fastlin bench`). Estimates are within a third of the measured times.
    """
    marched = int(np.count_nonzero(ways(times)[0] == Way.MARCH))
    gram, product = sizes.n * sizes.width**2, sizes.rows_i * sizes.rows_o * sizes.width
    start = np.where(sizes.unrolled, 0.3 * gram, 12.0 * sizes.n + 0.22 * gram)
    narrow = 5.5 + 0.7 * sizes.n + 0.18 * gram + 0.034 * product
    step = np.where(sizes.unrolled, narrow, 84.0 + 0.104 * gram + 0.069 * product)
    total: Array = start + (times.size - marched) * jump_nanoseconds(sizes) + marched * step
    return total


def jump_nanoseconds(sizes: Sizes) -> Array:
    """Estimate the time of one jump of one network, with loss and kernel distance."""
    gram, product = sizes.n * sizes.width**2, sizes.rows_i * sizes.rows_o * sizes.width
    narrow = 11.0 + 1.6 * sizes.n + 0.83 * sizes.n * sizes.width + 0.19 * gram + 0.031 * product
    return np.where(sizes.unrolled, narrow, 98.0 + 0.165 * gram + 0.109 * product)


class Paths(NamedTuple):
    """Factors of QQ^T(t) of G vectors of networks, and the rates that decide their limit at t = inf."""

    q: Array  # (G, T, n, width, WIDTH)
    column_rate: Array  # (G, width, WIDTH) growth rate of each column, an eigenvalue of F
    column_excess: Array  # (G, width, WIDTH) its excess over abs(lam) / 2
    w: Array  # (G, n, WIDTH) eigenvalues of F, falling
    excess_rate: Array  # (G, n, WIDTH) excess of positive eigenvalues over abs(lam) / 2


def empty_paths(sizes: UnreducedSizes, count: int, times: int) -> Paths:
    """Return empty paths of so many vectors at so many times."""
    columns, rows = (count, sizes.width, WIDTH), (count, sizes.n, WIDTH)
    return Paths(
        np.empty((count, times, sizes.n, sizes.width, WIDTH)),
        np.empty(columns),
        np.empty(columns),
        np.empty(rows),
        np.empty(rows),
    )


@traced(lam="", s="m", q0="n width", column_rate="width", column_excess="width", w="n", excess_rate="n")
def _follow_vector(
    code: VectorCode,
    shrinks: bool,
    work: Numbers,
    shrinkage: Lane,
    lam: Lanes,
    s: Lanes,
    q0: Lanes,
    times: Numbers,
    q: Numbers,
    column_rate: Lanes,
    column_excess: Lanes,
    w: Lanes,
    excess_rate: Lanes,
) -> None:
    """Write Q of one vector of networks at all times, from given starts."""
    sizes, ws = code.sizes, Dynamics.open(code, work)
    ws.lam[()] = lam[()]
    ws.s.fill(s)
    ws.q0.fill(q0)
    ws.shrinkage[()] = shrinkage
    ws.call(code, begin_shrinking if shrinks else begin)
    column_rate.fill(ws.column_rate)
    column_excess.fill(ws.column_excess)
    w.fill(ws.w)
    excess_rate.fill(ws.excess_rate)
    ws.jumping[()] = 1.0
    for index in code.loop(0, times.shape[0]):
        time: Any = times[index]
        ws.time[()] = time
        finite = time < float("inf")
        with code.when(finite):
            ws.call(code, jump_shrinking if shrinks else jump_to_time)
        with code.when(~finite):
            ws.call(code, limit_shrinking if shrinks else limit)
        q.vectors(index * (sizes.n * sizes.width), ws.q.shape).fill(ws.q)


@jit
def _follow(
    sizes: Form,
    shrinks: CompileTime,
    work: Array,
    shrinkage: float,
    lam: Array,
    s: Array,
    q0: Array,
    times: Array,
    paths: Paths,
) -> None:
    for group in range(len(lam)):
        _follow_vector(
            sizes,
            shrinks,
            work,
            shrinkage,
            lam[group],
            s[group],
            q0[group],
            times,
            paths.q[group],
            paths.column_rate[group],
            paths.column_excess[group],
            paths.w[group],
            paths.excess_rate[group],
        )


def prepare_follow(
    sizes: UnreducedSizes, lam: Array, s: Array, q0: Array, times: Array, shrinkage: float = 0.0
) -> Call:
    """Return the call that solves networks with given starts (see `dispatch.follow`)."""
    paths, work = empty_paths(sizes, len(lam), times.size), Dynamics.allocate(sizes)
    shrinks = CompileTime(shrinkage > 0.0)
    return Call(_follow, (form(sizes, Dynamics), shrinks, work, float(shrinkage), lam, s, q0, times, paths))


def follow(sizes: UnreducedSizes, lam: Array, s: Array, q0: Array, times: Array, shrinkage: float) -> Paths:
    """Solve networks with given starts (see `dispatch.follow`)."""
    call = prepare_follow(sizes, lam, s, q0, times, shrinkage)
    call()
    paths: Paths = call.arguments[-1]
    return paths
