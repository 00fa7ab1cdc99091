"""The closed form of many networks: eight points (seed, lam) to a vector, any times."""

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from fastlin.kernels.balance import balanced_start
from fastlin.kernels.codes import Status
from fastlin.kernels.echelon import echelon
from fastlin.kernels.eigenbasis import EPSILON, eigen_system, to_eigenbasis
from fastlin.kernels.evolution import Finite, Limit, divide, jump
from fastlin.kernels.jit import Array, Codes, Integers, jit
from fastlin.kernels.lanes import Spread, fma, select, traced
from fastlin.kernels.march import enter, grown, march, prepare_march, renew
from fastlin.kernels.observables import Observer
from fastlin.kernels.points import LANES, VECTORS, place, store_status
from fastlin.kernels.sizes import WIDTH, Given, Known, Record, Sizes
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


def begin(code: Any, room: Any) -> None:
    """From the start in the SVD basis to K in echelon form."""
    eigen_system(code, room)
    to_eigenbasis(code, room)
    echelon(code, room)


def jump_to_time(code: Any, room: Any) -> None:
    """Bring Q in q from the start to the time in `time`, of each lane, where `jumping` is 1."""
    divide(code, room, jump(code, room, Finite(room.time[()])), room.jumping[()] > 0.0)


def limit(code: Any, room: Any) -> None:
    """Bring Q in q to t = inf."""
    tie = 8.0 * code.sizes.n * EPSILON * room.lift[0]
    divide(code, room, jump(code, room, Limit(tie)), None)


def _advance(code: Any, room: Any, index: Any, way: Any) -> None:
    """Bring Q in q to the time in `time`, which is the one of `index`."""
    short = room.short[()] > 0.0
    for _ in code.when(code.equal(way[index], Way.MARCH)):
        for _ in code.when(code.equal(way[index - 1], Way.JUMP)):
            room.call(enter)
        room.call(march)
        for _ in code.when(grown(code, room)):
            room.call(renew)
    jumping = code.equal(way[index], Way.JUMP) | (code.equal(way[index], Way.MARCH) & ~short)
    for _ in code.when(jumping):
        room.jumping[()] = select(jumping, 1.0, 0.0)
        room.call(jump_to_time)
    for _ in code.when(code.equal(way[index], Way.LIMIT)):
        room.call(limit)


@traced()
def _solve_vectors(
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
    """Solve the points of some vectors at all times and write their rows."""
    observer, length = Observer(rows, drifts=False), Record(sizes).length

    def vectors() -> Iterator[tuple[Any, Any]]:
        for vector in code.loop(0, VECTORS):
            yield vector, DYNAMICS.open(code, work.at(vector * DYNAMICS.doubles(sizes)))

    def of_lanes(numbers: Any, vector: Any, factor: Any) -> list[Any]:
        return [numbers[vector * WIDTH + lane] * factor for lane in range(WIDTH)]

    for vector, room in vectors():
        room.lam[()] = lams.vectors(vector)[0]
        balanced_start(code, room, Spread(records, of_lanes(seeds, vector, length)))
        room.call(begin)
        room.call(observer.begin)
        room.short[()] = select(prepare_march(code, room, dt), 1.0, 0.0)
        room.doubt[()] = 0.0
    for _ in code.flushing():  # what the flow forgets decays to 0
        for index in code.loop(0, times.size):
            for _, room in vectors():
                room.time[()] = times[index]
                _advance(code, room, index, way)
            for vector, room in vectors():
                observer.observe(room)
                for row in rows:
                    value = room.rows[row]
                    room.recent[row, index % WIDTH] = value
                    room.doubt[()] = fma(value, 0.0, room.doubt[()])  # NaN from the first that is not finite
                for _ in code.when(code.equal(index % WIDTH, WIDTH - 1)):
                    target = Spread(out, of_lanes(points, vector, times.size))
                    for column, row in enumerate(rows):
                        values = [room.recent[row, slot] for slot in range(WIDTH)]
                        target.put(index - (WIDTH - 1) + stride * column, values)
                        target.prefetch(index + WIDTH + stride * column)
    for vector, room in vectors():
        target = Spread(out, of_lanes(points, vector, times.size))
        for index in code.loop(times.size - times.size % WIDTH, times.size):
            for column, row in enumerate(rows):
                target[index + stride * column] = room.recent[row, index % WIDTH]
        sound = room.doubt[()] >= 0.0
        health.vectors(vector)[0] = select(sound, float(Status.OK), float(Status.FAILED))


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
    seeds, points = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    lams, health = np.empty(LANES), np.empty(LANES)
    stride = out.shape[1] * out.shape[2]
    for first in range(0, records.shape[0] * lam.size, LANES):
        place(first, lam, records.shape[0] - 1, seeds, points, lams)
        _solve_vectors(sizes, rows, work, records, seeds, points, lams, times, way, dt, out, stride, health)
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
    _solve_all(sizes, known, DYNAMICS.allocate(sizes, VECTORS), records, lam, times, way, dt, out, status)


class Paths(NamedTuple):
    """Factors of QQ^T(t) of G vectors of networks, and what tells where they end."""

    q: Array  # (G, T, n, width, WIDTH)
    growth: Array  # (G, width, WIDTH) the eigenvalue that each column grows by
    lead: Array  # (G, width, WIDTH) its lift
    w: Array  # (G, n, WIDTH) eigenvalues of F, falling
    lift: Array  # (G, n, WIDTH) how far those that grow are above abs(lam) / 2


def empty_paths(sizes: Sizes, count: int, times: int) -> Paths:
    """Return room for paths of so many vectors at so many times."""
    columns, rows = (count, sizes.width, WIDTH), (count, sizes.n, WIDTH)
    return Paths(
        np.empty((count, times, sizes.n, sizes.width, WIDTH)),
        np.empty(columns),
        np.empty(columns),
        np.empty(rows),
        np.empty(rows),
    )


@traced(lams="", s="m", q0="n width", growth="width", lead="width", w="n", lift="n")
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
    lead: Any,
    w: Any,
    lift: Any,
) -> None:
    """Write Q of the given starts of one vector at all times."""
    room = DYNAMICS.open(code, work)
    room.lam[()] = lams[()]
    room.s.fill(s)
    room.q0.fill(q0)
    room.call(begin)
    growth.fill(room.growth)
    lead.fill(room.lead)
    w.fill(room.w)
    lift.fill(room.lift)
    room.jumping[()] = 1.0
    for index in code.loop(0, times.size):
        room.time[()] = times[index]
        for _ in code.when(code.equal(way[index], Way.JUMP)):
            room.call(jump_to_time)
        for _ in code.when(code.equal(way[index], Way.LIMIT)):
            room.call(limit)
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
    lead: Array,
    w: Array,
    lift: Array,
) -> None:
    for group in range(len(lam)):
        _follow_vector(
            sizes,
            work,
            lam[group],
            s[group],
            q0[group],
            times,
            way,
            q[group],
            growth[group],
            lead[group],
            w[group],
            lift[group],
        )


def follow(sizes: Given, lam: Array, s: Array, q0: Array, times: Array) -> Paths:
    """Solve networks with given starts in the SVD basis of their targets.

    lam (G, WIDTH); s (G, m, WIDTH); q0 (G, n, width, WIDTH); times (T,), any order, inf allowed.
    """
    paths = empty_paths(sizes, len(lam), times.size)
    way = np.where(np.isinf(times), Way.LIMIT, Way.JUMP).astype(np.int64)
    _follow_all(sizes, DYNAMICS.allocate(sizes), lam, s, q0, times, way, *paths)
    return paths
