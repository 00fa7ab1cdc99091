"""The closed form of many networks: eight points (seed, lam) to a vector, any times."""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from fastlin.kernels.balance import balanced_start
from fastlin.kernels.codes import Status
from fastlin.kernels.echelon import echelon
from fastlin.kernels.eigenbasis import EPSILON, eigen_system, to_eigenbasis
from fastlin.kernels.evolution import Finite, Limit, divide, jump, march, prepare_march
from fastlin.kernels.jit import Array, Codes, Integers, jit
from fastlin.kernels.lanes import WIDTH, Spread, fma, select, traced
from fastlin.kernels.observables import Observer
from fastlin.kernels.points import place, store_status
from fastlin.kernels.sizes import Given, Known, Record, Sizes
from fastlin.kernels.workspace import DYNAMICS


class Way(IntEnum):
    """How a time is reached."""

    JUMP = 0  # from the start
    MARCH = 1  # by dt from the time before
    LIMIT = 2  # t = inf


def ways(times: Array) -> tuple[Integers, float]:
    """Return the `Way` to each time, and the dt of the march: that of the uniform grid they begin with.

    Two steps or more make a grid. Its times may be off by their own rounding.
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


def _begin(code: Any, memory: Any) -> None:
    """From the start in the SVD basis to K in echelon form."""
    room = DYNAMICS.open(code, memory)
    eigen_system(code, room)
    to_eigenbasis(code, room)
    echelon(code, room)


def _march(code: Any, memory: Any) -> None:
    room = DYNAMICS.open(code, memory)
    divide(code, room, lambda i, h: room.power[i] * room.state[i, h], march(code, room), None)


def _jump(code: Any, memory: Any) -> None:
    room = DYNAMICS.open(code, memory)
    lower = jump(code, room, Finite(room.time[()]))
    divide(code, room, lambda i, h: room.moved[i, h], lower, room.jumping[()] > 0.0)


def _limit(code: Any, memory: Any) -> None:
    room = DYNAMICS.open(code, memory)
    tie = 8.0 * code.sizes.n * EPSILON * room.w[0]
    divide(code, room, lambda i, h: room.moved[i, h], jump(code, room, Limit(tie)), None)


@traced(lams="", health="")
def _solve_vector(
    code: Any,
    sizes: Sizes,
    rows: Any,
    work: Any,
    records: Any,
    seeds: Any,
    points: Any,
    lams: Any,
    times: Any,
    way: Any,
    dt: Any,
    out: Any,
    stride: Any,
    health: Any,
) -> None:
    """Solve the points of one vector at all times and write their rows."""
    room = DYNAMICS.open(code, work)
    room.lam[()] = lams[()]
    balanced_start(code, room, Spread(records, [seeds[lane] * Record(sizes).length for lane in range(WIDTH)]))
    code.call(_begin, work)
    observer = Observer(rows, drifts=False)
    code.call(observer.begin, work)
    short = prepare_march(code, room, dt)
    target = Spread(out, [points[lane] * times.size for lane in range(WIDTH)])
    doubt = code.variable(0.0)
    for index in code.loop(0, times.size):
        room.time[()] = times[index]
        for _ in code.when(code.equal(way[index], Way.MARCH)):
            code.call(_march, work)
        jumping = code.equal(way[index], Way.JUMP) | (code.equal(way[index], Way.MARCH) & ~short)
        for _ in code.when(jumping):
            room.jumping[()] = select(jumping, 1.0, 0.0)
            code.call(_jump, work)
        for _ in code.when(code.equal(way[index], Way.LIMIT)):
            code.call(_limit, work)
        code.call(observer.observe, work)
        for column, row in enumerate(rows):
            value = room.rows[row]
            target[index + stride * column] = value
            doubt.now = fma(value, 0.0, doubt.now)  # NaN from the first that is not finite
    health[()] = select(doubt.now >= 0.0, float(Status.OK), float(Status.FAILED))


@jit
def _solve_all(
    sizes: Sizes,
    rows: Known,
    work: Array,
    records: Array,
    lam: Array,
    times: Array,
    way: Integers,
    dt: float,
    out: Array,
    status: Codes,
) -> None:
    seeds, points = np.empty(WIDTH, np.int64), np.empty(WIDTH, np.int64)
    lams, health = np.empty(WIDTH), np.empty(WIDTH)
    stride = out.shape[1] * out.shape[2]
    for first in range(0, records.shape[0] * lam.size, WIDTH):
        place(first, lam, records.shape[0] - 1, seeds, points, lams)
        _solve_vector(sizes, rows, work, records, seeds, points, lams, times, way, dt, out, stride, health)
        store_status(first, health, status)


def closed_form(
    sizes: Sizes, records: Array, lam: Array, times: Array, rows: Integers, out: Array, status: Codes
) -> None:
    """Observables of the exact solution for a block: S seeds, all lam, all times.

    records: `Record` of S seeds; lam (L,); times (T,), any order, inf allowed; rows (R,) codes of `Row`.
    Writes out (R, padded(S L), T) and status (padded(S L),), points seed by seed.
    """
    way, dt = ways(times)
    known = Known(tuple(int(row) for row in rows))
    _solve_all(sizes, known, DYNAMICS.allocate(sizes), records, lam, times, way, dt, out, status)


class Paths(NamedTuple):
    """Factors of QQ^T(t) of G vectors of networks, and what tells where they end."""

    q: Array  # (G, T, n, width, WIDTH)
    growth: Array  # (G, width, WIDTH) the eigenvalue that each column grows by
    w: Array  # (G, n, WIDTH) eigenvalues of F, falling


@traced(lams="", s="m", q0="n width", growth="width", w="n")
def _follow_vector(
    code: Any,
    sizes: Given,
    work: Any,
    lams: Any,
    s: Any,
    q0: Any,
    times: Any,
    way: Any,
    path: Any,
    growth: Any,
    w: Any,
) -> None:
    """Write Q of the given starts of one vector at all times."""
    room = DYNAMICS.open(code, work)
    room.lam[()] = lams[()]
    room.s.fill(s)
    room.q0.fill(q0)
    code.call(_begin, work)
    growth.fill(room.growth)
    w.fill(room.w)
    room.jumping[()] = 1.0
    for index in code.loop(0, times.size):
        room.time[()] = times[index]
        for _ in code.when(code.equal(way[index], Way.JUMP)):
            code.call(_jump, work)
        for _ in code.when(code.equal(way[index], Way.LIMIT)):
            code.call(_limit, work)
        path.vectors(index * (sizes.n * sizes.width), room.q.shape).fill(room.q)


@jit
def _follow_all(
    sizes: Given,
    work: Array,
    lam: Array,
    s: Array,
    q0: Array,
    times: Array,
    way: Integers,
    q: Array,
    growth: Array,
    w: Array,
) -> None:
    for group in range(len(lam)):
        _follow_vector(
            sizes, work, lam[group], s[group], q0[group], times, way, q[group], growth[group], w[group]
        )


def follow(sizes: Given, lam: Array, s: Array, q0: Array, times: Array) -> Paths:
    """Solve networks with given starts in the SVD basis of their targets.

    lam (G, WIDTH); s (G, m, WIDTH); q0 (G, n, width, WIDTH); times (T,), any order, inf allowed.
    """
    count = len(lam)
    paths = Paths(
        np.empty((count, times.size, sizes.n, sizes.width, WIDTH)),
        np.empty((count, sizes.width, WIDTH)),
        np.empty((count, sizes.n, WIDTH)),
    )
    way = np.where(np.isinf(times), Way.LIMIT, Way.JUMP).astype(np.int64)
    _follow_all(sizes, DYNAMICS.allocate(sizes), lam, s, q0, times, way, *paths)
    return paths
