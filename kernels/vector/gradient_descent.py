"""Gradient descent of many networks in the SVD basis of the task.

`W1 += eta W2^T E`, `W2 += eta E W1^T` from the old weights, `E = Sigma_yx - W2 W1`. Steps use Gram matrices,
which cost O(H^2 N) where E costs O(N_i N_o H). Weights are scaled by sqrt(eta) and the target by eta, so that
a step has no factor eta.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastlin.kernels.batch import Batch, kappas_of
from fastlin.kernels.codes import Start, Status
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
from fastlin.kernels.vector.balance import write_start
from fastlin.kernels.vector.forms import Form, form
from fastlin.kernels.vector.gram import gram, subtract_product, subtract_products
from fastlin.kernels.vector.inputs import inputs_loss, squared_size, write_inputs_norms
from fastlin.kernels.vector.inputs_flow import InputsDescent, begin_descent, walk_on_inputs
from fastlin.kernels.vector.observables import Observer, observe_start
from fastlin.kernels.vector.points import over_points
from fastlin.kernels.vector.state import Dynamics

_TOGETHER = 4  # rows of a wide network that are updated at a time


def step(code: Code, q: Array, s: Array, damping: Array | None = None) -> None:
    """Step Q (n, width) in place towards the diagonal target s (m,). Both are scaled by the learning rate.

    ``W1 += W2^T S - (W2^T W2 + d1) W1``, ``W2 += S W1^T - W2 (W1 W1^T + d2)``, where `damping` holds d1 and
    d2, the decay times the learning rate. Rows of both layers that share a singular direction are updated
    together, because each needs the old values of the other.
    """
    sizes = code.sizes
    inputs, outputs = gram(code, q, 0, sizes.rows_i), gram(code, q, sizes.rows_i, sizes.n)
    if damping is not None:
        for h in code.columns(0, sizes.width):
            outputs[h, h], inputs[h, h] = outputs[h, h] + damping[0], inputs[h, h] + damping[1]
    if not sizes.unrolled:
        _step_by_columns(code, q, s, inputs, outputs)
        return
    first, second = code.local(sizes.width), code.local(sizes.width)

    def put(row: Whole) -> Callable[[Whole, Number], None]:
        def put_entry(h: Whole, value: Number) -> None:
            q[row, h] = value

        return put_entry

    for a in code.loop(0, sizes.m):
        b = sizes.rows_i + a
        for h in code.columns(0, sizes.width):
            first[h], second[h] = q[a, h], q[b, h]
        pull = s[a]
        subtract_product(code, partial(_pulled, first, second, pull), first, outputs, put(a))
        subtract_product(code, partial(_pulled, second, first, pull), second, inputs, put(b))
    for last, shift, other in ((sizes.rows_i, 0, outputs), (sizes.rows_o, sizes.rows_i, inputs)):
        for a in code.loop(sizes.m, last):
            for h in code.columns(0, sizes.width):
                first[h] = q[shift + a, h]
            subtract_product(code, first.__getitem__, first, other, put(shift + a))


def _pulled(mine: Array, other: Array, pull: Number, h: Whole) -> Number:
    """Return an entry of one layer plus the pull of the target along the other layer."""
    entry: Number = fma(pull, other[h], mine[h])
    return entry


def _step_by_columns(code: Code, q: Array, s: Array, inputs: Array, outputs: Array) -> None:
    """Step Q in place where a row does not fit the registers, some rows at a time."""
    sizes = code.sizes
    old, old_o = code.local(_TOGETHER, sizes.width), code.local(_TOGETHER, sizes.width)
    for first, count in _groups(code, 0, sizes.m):
        for r in code.loop(0, count):
            a, b = first + r, sizes.rows_i + first + r
            pull = s[a]
            for h in code.columns(0, sizes.width):
                x, y = q[a, h], q[b, h]
                old[r, h], old_o[r, h] = x, y
                q[a, h], q[b, h] = fma(pull, y, x), fma(pull, x, y)
        code.apart(subtract_products, q, old, outputs, first, count, 0)
        code.apart(subtract_products, q, old_o, inputs, sizes.rows_i + first, count, 0)
    for begin, end, other in ((sizes.m, sizes.rows_i, outputs), (sizes.rows_i + sizes.m, sizes.n, inputs)):
        for first, count in _groups(code, begin, end):
            for r in code.loop(0, count):
                for h in code.columns(0, sizes.width):
                    old[r, h] = q[first + r, h]
            code.apart(subtract_products, q, old, other, first, count, 0)


def _groups(code: Code, first: Whole, last: Whole) -> Iterator[tuple[Whole, Whole]]:
    """Loop over groups of rows. Yield the first row and the number of rows of each."""
    count: Any = last - first
    groups = (count + (_TOGETHER - 1)) // _TOGETHER
    for number in code.loop(0, groups):
        begin, end = number * count // groups, (number + 1) * count // groups
        yield first + begin, end - begin


@part(reads="state scaled", writes="state")
def walk(code: Code, ws: Dynamics, steps: Whole) -> None:
    """Take so many steps."""
    with code.flushing():  # weights in directions that the task does not have decay to 0
        for _ in code.loop(0, steps):
            step(code, ws.state, ws.scaled)


@part(reads="state scaled damping", writes="state")
def walk_with_decay(code: Code, ws: Dynamics, steps: Whole) -> None:
    """Take so many steps with weight decay."""
    with code.flushing():
        for _ in code.loop(0, steps):
            step(code, ws.state, ws.scaled, ws.damping)


@part(reads="s q0 start", writes="scaled state")
def scale_down(code: Code, ws: Dynamics, rate: Number) -> Number:
    """Write the scaled weights and target, and return the |Q|^2 beyond which a run has diverged."""
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
    """Write the weights to q, and return |Q|^2."""
    sizes, root = code.sizes, sqrt(rate)
    size = code.variable(0.0)
    for i in code.loop(0, sizes.n):
        for h in code.columns(0, sizes.width):
            ws.q[i, h] = ws.state[i, h] / root
            size.value = fma(ws.q[i, h], ws.q[i, h], size.value)
    total: Number = size.value
    return total


class Variant(NamedTuple):
    """The kind of gradient descent that a kernel is compiled for."""

    start: Start
    decays: bool


@traced()
def _descend(
    code: VectorCode,
    variant: Variant,
    outputs: tuple[int, ...],
    work: Numbers,
    batch: Batch,
    rate: Lane,
    kappa: Numbers,
    decay_1: Lane,
    decay_2: Lane,
) -> None:
    """Run all points, one vector at a time. ``batch.times`` holds the steps from one record to the next."""
    own = (inputs_loss, write_inputs_norms) if variant.start == Start.INPUTS else ()
    observer = Observer(outputs, True, *own)
    two_sided = variant.start == Start.TWO_SIDED
    for points in over_points(code, batch, 1, kappa if two_sided else None):
        ws: Dynamics
        if variant.start == Start.INPUTS:
            ws = on_inputs = InputsDescent.open(code, work)
            bound = begin_descent(code, on_inputs, points.records(0), rate, (decay_1, decay_2))
        else:
            ws = Dynamics.open(code, work)
            ws.lam[()] = points.lam(0)
            balance = points.kappa(0) if two_sided else code.constant(0.0)
            write_start(code, ws, variant.start, points.records(0), balance)
            ws.call(code, observe_start)
            bound = scale_down(code, ws, rate)
            if variant.decays:
                ws.damping[0], ws.damping[1] = rate * decay_1, rate * decay_2
        target = points.outputs(0)
        nonfinite, diverged = code.variable(0.0), code.variable(0.0)
        for index in code.loop(0, batch.times.shape[0]):
            if variant.start == Start.INPUTS:
                ws.call(code, walk_on_inputs, batch.times[index])
                size = squared_size(code, ws.q)
            else:
                ws.call(code, walk_with_decay if variant.decays else walk, batch.times[index])
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
def _gradient_descent(
    sizes: Form,
    variant: CompileTime,
    outputs: CompileTime,
    work: Doubles,
    batch: Batch,
    rate: float,
    kappa: Doubles,
    decay_1: float,
    decay_2: float,
) -> None:
    _descend(sizes, variant, outputs, work, batch, rate, kappa, decay_1, decay_2)


def prepare(
    sizes: Sizes,
    outputs: tuple[int, ...],
    batch: Batch,
    rate: float,
    specialise: bool,
    *,
    start: Start = Start.BALANCED,
    kappa: float | Doubles = 0.0,
    decay: tuple[float, float] = (0.0, 0.0),
) -> Call:
    """Return the call that runs all points (see `dispatch.gradient_descent`).

    `sizes` are those of the kind of start.
    """
    batch = batch._replace(times=np.diff(batch.times, prepend=0))
    workspace = InputsDescent if start == Start.INPUTS else Dynamics
    compiled_for = form(sizes, workspace, specialise=specialise)
    variant = CompileTime(Variant(start, start != Start.INPUTS and any(decay)))
    return Call(
        _gradient_descent,
        (
            compiled_for,
            variant,
            CompileTime(outputs),
            workspace.allocate(sizes),
            batch,
            rate,
            kappas_of(batch, kappa),
            *map(float, decay),
        ),
    )


def nanoseconds(sizes: Sizes, steps: float, records: int, *, white: bool = True) -> Doubles:
    """Estimate the time of one network on one core (see `closed_form.nanoseconds`).

    `white` is False for `Start.INPUTS`.
    """
    gram, product = sizes.n * sizes.width**2, sizes.rows_i * sizes.rows_o * sizes.width
    narrow = 0.5 + 0.08 * sizes.n + 0.044 * gram
    step = np.where(sizes.unrolled, narrow, 0.061 * gram)
    if not white:
        step = np.asarray(1.5 + 0.115 * product)
    return steps * step + records * (10.0 + 0.6 * sizes.n + 0.4 * gram + 0.085 * product)
