"""Time scales of the exact flow, in units of t / tau: one number per network, which may be infinite.

Convergence is the time at which the loss has fallen by a fraction of its fall at this hidden width. It is a
root of the exact loss, which is monotone. Time is multiplied until the root lies before it. Then Ridders'
method (1979) closes in, which suits a loss that decays exponentially.

Rotation is the time in which the hidden space turns towards the N_h fastest growing eigen-directions of F. It
turns away from each dropped direction like ``exp(-(w_a - w_b) t)``. The slowest of these turns is between
neighbours in the spectrum that differ by more than rounding. For a bottleneck it takes
``1 / (r_h - r_(h+1)) = (r_h + r_(h+1)) / (s_h^2 - s_(h+1)^2)``.

Escape is the time at which the first mode leaves the plateau. A mode alone obeys the Riccati equation
``x' = 2 w x - x^2``. Its solution ``x(t) = 2 w / (1 + (2 w / x_0 - 1) exp(-2 w t))`` is half of its limit at
``t = log(2 w / x_0 - 1) / (2 w)``. Modes are independent near the saddle at zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlin.kernels.batch import Batch
from fastlin.kernels.codes import Output, Scale, Status
from fastlin.kernels.compiler.arithmetic import absolute, fma, select, sqrt
from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.elementary import log
from fastlin.kernels.compiler.jit import Array, Call, jit
from fastlin.kernels.compiler.memory import Numbers
from fastlin.kernels.compiler.protocols import Code, Mask, Number
from fastlin.kernels.compiler.static import CompileTime
from fastlin.kernels.compiler.tracing import traced
from fastlin.kernels.compiler.values import Lane
from fastlin.kernels.compiler.workspace import Field, part
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.tolerances import AT_REST, CLOSED, LONGEST_SEARCH, TIE
from fastlin.kernels.vector.balance import start_point
from fastlin.kernels.vector.closed_form import begin
from fastlin.kernels.vector.evolution import jump_to_time, limit
from fastlin.kernels.vector.forms import Form, form
from fastlin.kernels.vector.observables import write_loss
from fastlin.kernels.vector.points import over_points
from fastlin.kernels.vector.state import Dynamics

INFINITE = float("inf")
_ITERATIONS = 60  # limit of Ridders' method, which takes less than ten unless a plateau makes it bisect


class Search(Dynamics):
    """The arrays of the dynamics, and those of the search for the time of convergence."""

    goal = Field()  # the loss at the time of convergence, less the least that can be reached
    early = Field()  # a time before the root
    excess_early = Field()  # the excess of the loss over the goal at that time
    late = Field()  # a time after the root
    excess_late = Field()
    answer = Field()
    open_ = Field()  # 1 where the root is not found yet
    scales = Field("scales")


@part(reads="lam w excess_rate", writes="scales")
def _rotation(code: Code, ws: Search) -> None:
    """Write 1 / the least difference between a kept and a dropped eigenvalue."""
    sizes, gap = code.sizes, code.variable(INFINITE)
    half = 0.5 * ws.lam[()]
    outside = code.choose(sizes.more_outputs, half, -half)
    tie = code.real(sizes.units) * TIE * ws.excess_rate[0]

    def turn(distance: Number, grows: Mask) -> None:
        gap.value = select(grows & (distance > tie) & (distance < gap.value), distance, gap.value)

    # The slowest of the dropped directions that shrink has the nearest eigenvalue.
    last = sizes.slowest_dropped - 1
    for a in code.loop(0, sizes.reached):
        r = ws.w[a]
        for b in code.loop(sizes.n_h, sizes.m):
            turn(ws.excess_rate[a] - ws.excess_rate[b], r > 0.0)
        code.given(
            sizes.drops_outside,
            lambda: turn(select(outside > 0.0, ws.excess_rate[a], r - outside), r > 0.0),  # noqa: B023
        )
        code.given(sizes.drops_shrinking, lambda: turn(r + ws.w[last], r > 0.0))  # noqa: B023

    def keep_outside() -> None:
        code.given(sizes.drops_shrinking, lambda: turn(outside + ws.w[last], outside > 0.0))

    code.given(sizes.keeps_outside, keep_outside)
    found = gap.value < INFINITE
    ws.scales[Scale.ROTATION] = select(found, 1.0 / select(found, gap.value, 1.0), 0.0)


@part(reads="w k", writes="scales")
def _escape(code: Code, ws: Search) -> None:
    """Write the time at which the first mode is half of its limit."""
    sizes = code.sizes
    first = code.variable(INFINITE)
    for a in code.loop(0, sizes.m):
        w, size = ws.w[a], code.variable(0.0)
        for h in code.columns(0, sizes.width):
            size.value = fma(ws.k[a, h], ws.k[a, h], size.value)
        alive = (size.value > 0.0) & (w > 0.0)
        ratio = select(alive, (2.0 * w - size.value) / select(alive, size.value, 1.0), 1.0)
        time = log(select(ratio > 1.0, ratio, 1.0)) / (2.0 * select(alive, w, 1.0))
        first.value = select(alive & (time < first.value), time, first.value)
    ws.scales[Scale.ESCAPE] = first.value


@part(reads="outputs goal", writes="outputs")
def _excess(code: Code, ws: Search) -> None:
    """Write the excess of the loss at `time` over the goal, in the output of the loss."""
    ws.call(code, jump_to_time)
    ws.call(code, write_loss)
    ws.outputs[Output.LOSS] = ws.outputs[Output.LOSS] - ws.goal[()]


@part(
    reads="s q0 w outputs goal late excess_late open_ answer scales",
    writes="floor jumping q goal scales open_ early excess_early late excess_late",
)
def _convergence(code: Code, ws: Search, fraction: Number) -> None:
    """Write the time at which the loss has fallen by a fraction of its fall."""
    sizes, one = code.sizes, code.constant(1.0)
    total, least = code.variable(0.0), code.variable(0.0)
    for a in code.loop(0, sizes.m):
        total.value = fma(ws.s[a], ws.s[a], total.value)
    for a in code.loop(sizes.reached, sizes.m):
        least.value = fma(ws.s[a], ws.s[a], least.value)
    # The loss is measured from the least that can be reached, so that it does not cancel with the floor.
    ws.floor[()] = -0.5 * least.value
    ws.jumping[()] = 1.0
    ws.q.fill(ws.q0)
    ws.call(code, write_loss)
    start = ws.outputs[Output.LOSS]
    converged = start <= AT_REST * (start + total.value)
    ws.goal[()] = (one - fraction) * start
    converged = converged | (start <= ws.goal[()])
    ws.call(code, limit)
    ws.call(code, write_loss)
    reached = ws.outputs[Output.LOSS] < ws.goal[()]
    ws.scales[Scale.CONVERGENCE] = select(converged, 0.0, INFINITE)
    ws.open_[()] = select(converged, 0.0, select(reached, 1.0, 0.0))
    ws.early[()], ws.excess_early[()] = 0.0, start - ws.goal[()]
    ws.late[()] = 0.25 / select(ws.w[0] > 0.0, ws.w[0], 1.0)
    ws.excess_late[()] = 1.0
    for _ in code.loop(0, LONGEST_SEARCH):
        with code.when(_still_before(ws)):
            ws.call(code, _go_on)
    ws.open_[()] = select(_still_before(ws), 0.0, ws.open_[()])
    for _ in code.loop(0, _ITERATIONS):
        with code.when(ws.open_[()] > 0.0):
            ws.call(code, _close_in)
    # Where the bracket is still wider than rounding, the last guess is the best answer.
    ws.scales[Scale.CONVERGENCE] = select(ws.open_[()] > 0.0, ws.answer[()], ws.scales[Scale.CONVERGENCE])


def _still_before(ws: Search) -> Mask:
    return (ws.open_[()] > 0.0) & (ws.excess_late[()] > 0.0)


@part(
    reads="open_ early excess_early late excess_late outputs answer",
    writes="time early excess_early late excess_late answer",
)
def _go_on(code: Code, ws: Search) -> None:
    """Multiply the later time where the loss is still above the goal. Other lanes keep their bits."""
    before = _still_before(ws)
    ws.time[()] = select(before, ws.late[()], 0.0)
    ws.call(code, _excess)
    value = ws.outputs[Output.LOSS]
    above = before & (value > 0.0)
    ws.excess_late[()] = select(before, value, ws.excess_late[()])
    ws.early[()] = select(above, ws.late[()], ws.early[()])
    ws.excess_early[()] = select(above, value, ws.excess_early[()])
    ws.late[()] = select(above, 4.0 * ws.late[()], ws.late[()])
    ws.answer[()] = ws.late[()]


@part(
    reads="open_ early excess_early late excess_late outputs answer scales",
    writes="time early excess_early late excess_late answer open_ scales",
)
def _close_in(code: Code, ws: Search) -> None:
    """Take one step of Ridders' method where the root is not found yet."""
    searching = ws.open_[()] > 0.0
    early, late = ws.early[()], ws.late[()]
    middle = 0.5 * (early + late)
    ws.time[()] = middle
    ws.call(code, _excess)
    at_middle = ws.outputs[Output.LOSS]
    square = fma(at_middle, at_middle, -(ws.excess_early[()] * ws.excess_late[()]))
    slope = select(square > 0.0, at_middle / sqrt(select(square > 0.0, square, 1.0)), 0.0)
    guess = fma(middle - early, slope, middle)
    _narrow(ws, searching, middle, at_middle)
    # Rounding must not move the guess out of the bracket.
    guess = select(guess < ws.late[()], guess, ws.late[()])
    guess = select(guess > ws.early[()], guess, ws.early[()])
    ws.time[()] = guess
    ws.call(code, _excess)
    _narrow(ws, searching, guess, ws.outputs[Output.LOSS])
    change = absolute(guess - ws.answer[()])
    width = ws.late[()] - ws.early[()]
    found = searching & ((change <= CLOSED * guess) | (width <= CLOSED * guess))
    ws.answer[()] = select(searching, guess, ws.answer[()])
    ws.scales[Scale.CONVERGENCE] = select(found, guess, ws.scales[Scale.CONVERGENCE])
    ws.open_[()] = select(found, 0.0, ws.open_[()])


def _narrow(ws: Search, searching: Mask, time: Number, excess: Number) -> None:
    """Move one end of the bracket to a time within it."""
    before, behind = searching & (excess > 0.0), searching & (excess <= 0.0)
    ws.early[()] = select(before, time, ws.early[()])
    ws.excess_early[()] = select(before, excess, ws.excess_early[()])
    ws.late[()] = select(behind, time, ws.late[()])
    ws.excess_late[()] = select(behind, excess, ws.excess_late[()])


@traced()
def _write_scales(
    code: VectorCode, scales: tuple[int, ...], work: Numbers, batch: Batch, fraction: Lane
) -> None:
    """Write the time scales of all points, one vector at a time."""
    for points in over_points(code, batch, 1):
        ws = Search.open(code, work)
        start_point(code, ws, points.lam(0), points.records(0))
        ws.call(code, begin)
        missing: Any = code.constant(0.0)
        if Scale.ROTATION in scales:
            ws.call(code, _rotation)
        if Scale.ESCAPE in scales:
            ws.call(code, _escape)
        if Scale.CONVERGENCE in scales:
            with code.flushing():
                _convergence(code, ws, fraction)
        target = points.outputs(0)
        for column, scale in enumerate(scales):
            value = ws.scales[scale]
            target[points.output_size * column] = value
            missing = missing + select(value >= 0.0, 0.0, 1.0)
        points.store_status(0, select(missing > 0.0, float(Status.FAILED), float(Status.OK)))


@jit
def _time_scales(sizes: Form, scales: CompileTime, work: Array, batch: Batch, fraction: float) -> None:
    _write_scales(sizes, scales, work, batch, fraction)


def prepare(sizes: Sizes, scales: tuple[int, ...], batch: Batch, fraction: float, specialise: bool) -> Call:
    """Return the call that finds the time scales of all points (see `dispatch.time_scales`)."""
    compiled_for = form(sizes, Search, specialise=specialise)
    return Call(_time_scales, (compiled_for, CompileTime(scales), Search.allocate(sizes), batch, fraction))


def nanoseconds(sizes: Sizes) -> Array:
    """Estimate the time of the search for the time of convergence (see `closed_form.nanoseconds`)."""
    gram, product = sizes.n * sizes.width**2, sizes.rows_i * sizes.rows_o * sizes.width
    narrow = 150.0 + 22.0 * sizes.n + 7.0 * sizes.n * sizes.width + 1.5 * gram + 1.3 * product
    return np.where(sizes.unrolled, narrow, 1000.0 + 2.3 * gram + 2.1 * product)
