"""Gradient descent of many networks in the SVD basis of the task.

`W1 += eta W2^T E`, `W2 += eta E W1^T` from the old weights, `E = Sigma_yx - W2 W1`. Vectors step in Gram
form, O(H^2 N) where E costs O(N_i N_o H), on weights times sqrt(eta) and a target times eta, which takes eta
out of the step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastlin.kernels.batch import Batch
from fastlin.kernels.codes import Status
from fastlin.kernels.compiler.arithmetic import fma, select, sqrt
from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.jit import Array as Doubles
from fastlin.kernels.compiler.jit import Call, jit
from fastlin.kernels.compiler.memory import Numbers
from fastlin.kernels.compiler.protocols import Array, Code, Number, Whole
from fastlin.kernels.compiler.static import CompileTime
from fastlin.kernels.compiler.tracing import traced
from fastlin.kernels.compiler.values import Lane
from fastlin.kernels.compiler.workspace import part
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.tolerances import BLOW_UP
from fastlin.kernels.vector.balance import start_point
from fastlin.kernels.vector.forms import Form, form
from fastlin.kernels.vector.gram import copy_rows, gram, subtract_product
from fastlin.kernels.vector.observables import Observer, observe_start
from fastlin.kernels.vector.points import over_points
from fastlin.kernels.vector.state import Dynamics


def step(code: Code, q: Array, s: Array) -> None:
    """Step Q (n, width) in place, towards the diagonal target s (m,): both scaled by the learning rate.

    ``W1 += W2^T S - (W2^T W2) W1``, ``W2 += S W1^T - W2 (W1 W1^T)``. Rows of both layers that share a
    singular direction are updated together, as each needs the other's old values.
    """
    sizes = code.sizes
    inputs, outputs = gram(code, q, 0, sizes.rows_i), gram(code, q, sizes.rows_i, sizes.n)

    def put(rows: list[Whole]) -> Callable[[int, Whole, Number], None]:
        def put_entry(r: int, h: Whole, value: Number) -> None:
            q[rows[r], h] = value

        return put_entry

    for rows_i in code.pairs(0, sizes.m):
        rows_o = [sizes.rows_i + a for a in rows_i]
        first, second = copy_rows(code, q, rows_i), copy_rows(code, q, rows_o)
        pulls = [s[a] for a in rows_i]
        subtract_product(code, partial(_pulled, first, second, pulls), first, outputs, put(rows_i))
        subtract_product(code, partial(_pulled, second, first, pulls), second, inputs, put(rows_o))
    for begin, end, other in (
        (sizes.m, sizes.rows_i, outputs),
        (sizes.rows_i + sizes.m, sizes.n, inputs),
    ):
        for rows in code.pairs(begin, end):
            alone = copy_rows(code, q, rows)
            subtract_product(code, partial(_entry, alone), alone, other, put(rows))


def _pulled(mine: list[Array], others: list[Array], pulls: list[Number], r: int, h: Whole) -> Number:
    """Return an entry of one layer that the target pulls along the other one."""
    moved: Number = fma(pulls[r], others[r][h], mine[r][h])
    return moved


def _entry(rows: list[Array], r: int, h: Whole) -> Number:
    entry: Number = rows[r][h]
    return entry


@part(reads="state scaled", writes="state")
def walk(code: Code, ws: Dynamics, steps: Whole) -> None:
    """Do so many steps."""
    with code.flushing():  # weights that the task has no use for decay to 0
        for _ in code.loop(0, steps):
            step(code, ws.state, ws.scaled)


@part(reads="s q0 start", writes="scaled state")
def scale_down(code: Code, ws: Dynamics, rate: Number) -> Number:
    """Write the scaled weights and target; return |Q|^2 beyond which a run has diverged."""
    sizes, root = code.sizes, sqrt(rate)
    bound = code.variable(ws.start[0] + ws.start[1])
    for a in code.loop(0, sizes.m):
        bound.value = bound.value + ws.s[a]
        ws.scaled[a] = rate * ws.s[a]
    for i in code.loop(0, sizes.n):
        for h in code.columns(0, sizes.width):
            ws.state[i, h] = root * ws.q0[i, h]
    limit: Number = BLOW_UP * bound.value
    return limit


@part(reads="state q", writes="q")
def scale_up(code: Code, ws: Dynamics, rate: Number) -> Number:
    """Write the weights to q; return |Q|^2."""
    sizes, root = code.sizes, sqrt(rate)
    size = code.variable(0.0)
    for i in code.loop(0, sizes.n):
        for h in code.columns(0, sizes.width):
            ws.q[i, h] = ws.state[i, h] / root
            size.value = fma(ws.q[i, h], ws.q[i, h], size.value)
    total: Number = size.value
    return total


@traced()
def _descend(code: VectorCode, outputs: tuple[int, ...], work: Numbers, batch: Batch, rate: Lane) -> None:
    """Run all points, one vector at a time. ``batch.times`` are the steps from one record to the next."""
    observer = Observer(outputs, drifts=True)
    for points in over_points(code, batch, 1):
        ws = Dynamics.open(code, work)
        start_point(code, ws, points.lam(0), points.records(0))
        ws.call(code, observe_start)
        bound = scale_down(code, ws, rate)
        target = points.outputs(0)
        nonfinite, diverged = code.variable(0.0), code.variable(0.0)
        for index in code.loop(0, batch.times.shape[0]):
            ws.call(code, walk, batch.times[index])
            size = scale_up(code, ws, rate)
            diverged.value = select(size <= bound, diverged.value, float("nan"))
            observer.observe(code, ws)
            for column, output in enumerate(outputs):
                value: Any = ws.outputs[output] + diverged.value
                target[index + points.output_size * column] = value
                nonfinite.value = fma(value, 0.0, nonfinite.value)
        finite = select(nonfinite.value >= 0.0, float(Status.OK), float(Status.FAILED))
        points.store_status(0, select(diverged.value >= 0.0, finite, float(Status.DIVERGED)))


@jit
def _gradient_descent(sizes: Form, outputs: CompileTime, work: Doubles, batch: Batch, rate: float) -> None:
    _descend(sizes, outputs, work, batch, rate)


def prepare(sizes: Sizes, outputs: tuple[int, ...], batch: Batch, rate: float, specialise: bool) -> Call:
    """Return the call that runs all points; see `dispatch.gradient_descent`."""
    batch = batch._replace(times=np.diff(batch.times, prepend=0))
    compiled_for = form(sizes, Dynamics, specialise=specialise)
    return Call(
        _gradient_descent, (compiled_for, CompileTime(outputs), Dynamics.allocate(sizes), batch, rate)
    )


def nanoseconds(sizes: Sizes, steps: float, records: int) -> Any:
    """Estimate the time of one network, recorded so often, on one core; see `closed_form.nanoseconds`."""
    gram, product = sizes.n * sizes.width**2, sizes.rows_i * sizes.rows_o * sizes.width
    narrow = 0.5 + 0.08 * sizes.n + 0.044 * gram
    step = np.where(sizes.unrolled, narrow, 8.0 + 0.08 * gram)
    return steps * step + records * (10.0 + 0.6 * sizes.n + 0.4 * gram + 0.085 * product)
