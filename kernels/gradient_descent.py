"""Gradient descent: of many networks in the SVD basis of the task, and of one on its weights.

`W1 += eta W2^T E`, `W2 += eta E W1^T` from the old weights, `E = Sigma_yx - W2 W1`. Vectors step in Gram
form, O(H^2 N) where E costs O(N_i N_o H), on weights times sqrt(eta) and a target times eta, which takes eta
out of the step.
"""

from typing import Any

import numpy as np

from fastlin.kernels.balance import balanced_start
from fastlin.kernels.codes import Status
from fastlin.kernels.gram import gram
from fastlin.kernels.jit import Array, Codes, Integers, jit
from fastlin.kernels.lanes import Spread, fma, select, sqrt, traced
from fastlin.kernels.observables import Observer
from fastlin.kernels.points import place, store_status
from fastlin.kernels.sizes import WIDTH, Known, Record, Sizes
from fastlin.kernels.workspace import DYNAMICS

# Descent keeps |Q|^2 within a few times its start and the target; this far above, cubic growth has
# taken over.
BLOW_UP = 1e4


def step(code: Any, q: Any, s: Any) -> None:
    """Step Q (n, width) in place, towards the diagonal target s (m,): both scaled by the learning rate.

    ``W1 += W2^T S - (W2^T W2) W1``, ``W2 += S W1^T - W2 (W1 W1^T)``. Rows of both layers that share a
    singular direction are updated together, as each needs the other's old values.
    """
    sizes = code.sizes
    inputs, outputs = gram(code, q, 0, sizes.rows_i), gram(code, q, sizes.rows_i, sizes.n)
    first, second = code.local(sizes.width), code.local(sizes.width)
    for a in code.loop(0, sizes.m):
        for h in code.columns(0, sizes.width):
            first[h], second[h] = q[a, h], q[sizes.rows_i + a, h]
        for h in code.columns(0, sizes.width):
            q[a, h] = _shrunk(code, fma(s[a], second[h], first[h]), first, outputs, h)
            q[sizes.rows_i + a, h] = _shrunk(code, fma(s[a], first[h], second[h]), second, inputs, h)
    for last, shift, other in ((sizes.rows_i, 0, outputs), (sizes.rows_o, sizes.rows_i, inputs)):
        for a in code.loop(sizes.m, last):
            for h in code.columns(0, sizes.width):
                first[h] = q[shift + a, h]
            for h in code.columns(0, sizes.width):
                q[shift + a, h] = _shrunk(code, first[h], first, other, h)


def _shrunk(code: Any, value: Any, row: Any, matrix: Any, h: Any) -> Any:
    """Return value - (row matrix)[h]."""
    rest = code.variable(value)
    for g in code.columns(0, code.sizes.width):
        rest.now = fma(-row[g], matrix[g, h], rest.now)
    return rest.now


def _walk(code: Any, room: Any, steps: Any) -> None:
    for _ in code.flushing():  # weights that the task has no use for decay to 0
        for _ in code.loop(0, steps):
            step(code, room.state, room.scaled)


@traced(lams="", health="")
def _descend_vector(
    code: Any,
    sizes: Sizes,
    rows: Any,
    work: Any,
    records: Any,
    seeds: Any,
    points: Any,
    lams: Any,
    rate: Any,
    strides: Any,
    out: Any,
    stride: Any,
    health: Any,
) -> None:
    """Run the points of one vector and write their rows after each of `strides` more steps."""
    room = DYNAMICS.open(code, work)
    room.lam[()] = lams[()]
    balanced_start(code, room, Spread(records, [seeds[lane] * Record(sizes).length for lane in range(WIDTH)]))
    observer = Observer(rows, drifts=True)
    room.call(observer.begin)
    root = sqrt(rate)
    bound = code.variable(room.start[0] + room.start[1])
    for a in code.loop(0, sizes.m):
        bound.now = bound.now + room.s[a]
        room.scaled[a] = rate * room.s[a]
    for i in code.loop(0, sizes.n):
        for h in code.columns(0, sizes.width):
            room.state[i, h] = root * room.q0[i, h]
    target = Spread(out, [points[lane] * strides.size for lane in range(WIDTH)])
    doubt, poison = code.variable(0.0), code.variable(0.0)
    for index in code.loop(0, strides.size):
        room.call(_walk, strides[index])
        size = code.variable(0.0)
        for i in code.loop(0, sizes.n):
            for h in code.columns(0, sizes.width):
                room.q[i, h] = room.state[i, h] / root
                size.now = fma(room.q[i, h], room.q[i, h], size.now)
        poison.now = select(size.now <= BLOW_UP * bound.now, poison.now, float("nan"))
        observer.observe(room)
        for column, row in enumerate(rows):
            value = room.rows[row] + poison.now
            target[index + stride * column] = value
            doubt.now = fma(value, 0.0, doubt.now)
    fine = select(doubt.now >= 0.0, float(Status.OK), float(Status.FAILED))
    health[()] = select(poison.now >= 0.0, fine, float(Status.DIVERGED))


@jit
def _descend_all(
    sizes: Sizes,
    rows: Known,
    work: Array,
    records: Array,
    lam: Array,
    rate: float,
    strides: Integers,
    out: Array,
    status: Codes,
) -> None:
    seeds, points = np.empty(WIDTH, np.int64), np.empty(WIDTH, np.int64)
    lams, health = np.empty(WIDTH), np.empty(WIDTH)
    stride = out.shape[1] * out.shape[2]
    for first in range(0, records.shape[0] * lam.size, WIDTH):
        place(first, lam, records.shape[0] - 1, seeds, points, lams)
        _descend_vector(sizes, rows, work, records, seeds, points, lams, rate, strides, out, stride, health)
        store_status(first, health, status)


def gradient_descent(
    sizes: Sizes,
    records: Array,
    lam: Array,
    learning_rate: float,
    steps: Integers,
    rows: Integers,
    out: Array,
    status: Codes,
) -> None:
    """Observables of gradient descent for a block: S seeds, all lam, recorded after each of `steps`.

    records: `Record` of S seeds; lam (L,); steps (T,) ascending; rows (R,) codes of `Row`. Writes out
    (R, padded(S L), T), points seed by seed, NaN from the first recorded step at which a run has
    diverged, and status (padded(S L),).
    """
    strides = np.diff(steps, prepend=0)
    known = Known(tuple(int(row) for row in rows))
    _descend_all(
        sizes, known, DYNAMICS.allocate(sizes), records, lam, float(learning_rate), strides, out, status
    )


@jit
def descend(
    w1: Array,
    w2: Array,
    sigma_yx: Array,
    sigma_xx: Array | None,
    learning_rate: float,
    steps: Integers,
    path1: Array,
    path2: Array,
) -> None:
    """Gradient descent of one network on its weights, for any inputs.

    w1 (N_h, N_i) and w2 (N_o, N_h), overwritten; sigma_xx (N_i, N_i), or None for whitened inputs;
    steps (T,) ascending. Writes path1 (T, N_h, N_i) and path2 (T, N_o, N_h).
    """
    step = 0
    for index in range(steps.size):
        while step < steps[index]:
            product = np.dot(w2, w1)
            if sigma_xx is not None:
                product = np.dot(product, sigma_xx)
            error = learning_rate * (sigma_yx - product)
            change1 = np.dot(w2.T, error)
            w2 += np.dot(error, w1.T)
            w1 += change1
            step += 1
        path1[index], path2[index] = w1, w2
