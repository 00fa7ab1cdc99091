"""Time scales of the exact flow, in units of t / tau: one number per network, which may be infinite.

Convergence: when the loss has come down by a fraction of what a network of this width can reach. It is the
root of the exact loss, which is monotone: time is multiplied until it lies behind, then Ridders' method
(1979) closes in, whose exponential factor is the one that a loss decays by.

Rotation: the hidden space turns towards the N_h fastest growing eigen-directions of F, from each that it is
to drop like ``exp(-(w_a - w_b) t)``; the slowest of these turns is that of neighbours in the spectrum that
differ by more than rounding. For a bottleneck it takes
``1 / (r_h - r_(h+1)) = (r_h + r_(h+1)) / (s_h^2 - s_(h+1)^2)``.

Escape: a mode alone obeys the Riccati equation ``x' = 2 w x - x^2``, so that
``x(t) = 2 w / (1 + (2 w / x_0 - 1) exp(-2 w t))`` is half of what it becomes at
``t = log(2 w / x_0 - 1) / (2 w)``. Near the saddle at zero modes do not yet feel one another; the first to
arrive ends the plateau.
"""

from typing import Any

import numpy as np

from fastlin.kernels.balance import balanced_start
from fastlin.kernels.closed_form import begin, jump_to_time, limit
from fastlin.kernels.codes import Row, Scale, Status
from fastlin.kernels.eigenbasis import EPSILON
from fastlin.kernels.functions import log
from fastlin.kernels.jit import Array, Codes, Integers, jit
from fastlin.kernels.lanes import Spread, absolute, fma, select, sqrt, traced
from fastlin.kernels.observables import loss
from fastlin.kernels.points import LANES, VECTORS, place, store_status
from fastlin.kernels.sizes import WIDTH, Known, Record, Sizes
from fastlin.kernels.workspace import DYNAMICS

INFINITE = float("inf")
# Nearer to the least loss than this, as a share of what its terms add up to, a start counts as being there.
AT_REST = 64.0 * EPSILON
# By 4 to this power a time may be longer than that of the fastest mode; beyond it, it counts as infinite.
_LONGEST = 100
_ITERATIONS = 60  # of Ridders' method, which takes less than ten but where a plateau makes it halve
_CLOSE = 4.0 * EPSILON

_ROOM = DYNAMICS.with_more(
    {
        "goal": "",  # what the excess of the loss is to come down to
        "early": "",  # a time before that, and the excess over the goal there
        "excess_early": "",
        "late": "",  # a time behind it
        "excess_late": "",
        "answer": "",
        "open": "",  # 1 where it is not found yet
        "scales": "scales",
    }
)


def _rotation(code: Any, room: Any) -> None:
    """Write 1 / the least difference of an eigenvalue that is kept and one that is dropped."""
    sizes, gap = code.sizes, code.variable(INFINITE)
    planes, whole = sizes.m, sizes.n_i + sizes.n_o
    outside = 0.5 * room.lam[()] if sizes.n_o > sizes.n_i else -0.5 * room.lam[()]
    tie = 8.0 * whole * EPSILON * room.lift[0]

    def turn(distance: Any, grows: Any) -> None:
        gap.now = select(grows & (distance > tie) & (distance < gap.now), distance, gap.now)

    # The dropped directions that shrink: the slowest of them is the nearest.
    last = min(planes, whole - sizes.n_h) - 1
    for a in code.loop(0, min(sizes.n_h, planes)):
        r = room.w[a]
        for b in code.loop(sizes.n_h, planes):
            turn(room.lift[a] - room.lift[b], r > 0.0)
        if sizes.n_h < sizes.wide and sizes.wide > planes:
            turn(select(outside > 0.0, room.lift[a], r - outside), r > 0.0)
        if last >= 0:
            turn(r + room.w[last], r > 0.0)
    if sizes.n_h > planes and sizes.wide > planes and last >= 0:
        turn(outside + room.w[last], outside > 0.0)
    found = gap.now < INFINITE
    room.scales[Scale.ROTATION] = select(found, 1.0 / select(found, gap.now, 1.0), 0.0)


def _escape(code: Any, room: Any) -> None:
    """Write when the first mode is half of what it becomes."""
    sizes = code.sizes
    first = code.variable(INFINITE)
    for a in code.loop(0, sizes.m):
        w, size = room.w[a], code.variable(0.0)
        for h in code.columns(0, sizes.width):
            size.now = fma(room.k[a, h], room.k[a, h], size.now)
        alive = (size.now > 0.0) & (w > 0.0)
        ratio = select(alive, (2.0 * w - size.now) / select(alive, size.now, 1.0), 1.0)
        time = log(select(ratio > 1.0, ratio, 1.0)) / (2.0 * select(alive, w, 1.0))
        first.now = select(alive & (time < first.now), time, first.now)
    room.scales[Scale.ESCAPE] = first.now


def _excess(code: Any, room: Any) -> None:
    """Write the excess of the loss at `time` over the goal, in the loss's row."""
    room.call(jump_to_time)
    room.call(loss)
    room.rows[Row.LOSS] = room.rows[Row.LOSS] - room.goal[()]


def _convergence(code: Any, room: Any, fraction: Any) -> None:
    """Write when the loss has come down by a fraction of what can be reached."""
    sizes, one = code.sizes, code.constant(1.0)
    total, least = code.variable(0.0), code.variable(0.0)
    for a in code.loop(0, sizes.m):
        total.now = fma(room.s[a], room.s[a], total.now)
    for a in code.loop(min(sizes.n_h, sizes.m), sizes.m):
        least.now = fma(room.s[a], room.s[a], least.now)
    # The loss is taken from the least that can be reached, which does not cancel with the floor.
    room.floor[()] = -0.5 * least.now
    room.jumping[()] = 1.0
    room.q.fill(room.q0)
    room.call(loss)
    start = room.rows[Row.LOSS]
    there = start <= AT_REST * (start + total.now)
    room.goal[()] = (one - fraction) * start
    there = there | (start <= room.goal[()])
    room.call(limit)
    room.call(loss)
    reached = room.rows[Row.LOSS] < room.goal[()]
    room.scales[Scale.CONVERGENCE] = select(there, 0.0, INFINITE)
    room.open[()] = select(there, 0.0, select(reached, 1.0, 0.0))
    room.early[()], room.excess_early[()] = 0.0, start - room.goal[()]
    room.late[()] = 0.25 / select(room.w[0] > 0.0, room.w[0], 1.0)
    room.excess_late[()] = 1.0
    for _ in code.loop(0, _LONGEST):
        for _ in code.when(_still_before(room)):
            room.call(_go_on)
    room.open[()] = select(_still_before(room), 0.0, room.open[()])
    for _ in code.loop(0, _ITERATIONS):
        for _ in code.when(room.open[()] > 0.0):
            room.call(_close_in)
    # Where the bracket is still wider than its rounding, its middle is what is known.
    room.scales[Scale.CONVERGENCE] = select(
        room.open[()] > 0.0, room.answer[()], room.scales[Scale.CONVERGENCE]
    )


def _still_before(room: Any) -> Any:
    return (room.open[()] > 0.0) & (room.excess_late[()] > 0.0)


def _go_on(code: Any, room: Any) -> None:
    """Move the later time on where the loss is still above the goal; other lanes keep their bits."""
    before = _still_before(room)
    room.time[()] = select(before, room.late[()], 0.0)
    room.call(_excess)
    value = room.rows[Row.LOSS]
    above = before & (value > 0.0)
    room.excess_late[()] = select(before, value, room.excess_late[()])
    room.early[()] = select(above, room.late[()], room.early[()])
    room.excess_early[()] = select(above, value, room.excess_early[()])
    room.late[()] = select(above, 4.0 * room.late[()], room.late[()])
    room.answer[()] = room.late[()]


def _close_in(code: Any, room: Any) -> None:
    """Take one step of Ridders' method where it is not found yet."""
    searching = room.open[()] > 0.0
    early, late = room.early[()], room.late[()]
    middle = 0.5 * (early + late)
    room.time[()] = middle
    room.call(_excess)
    at_middle = room.rows[Row.LOSS]
    square = fma(at_middle, at_middle, -(room.excess_early[()] * room.excess_late[()]))
    slope = select(square > 0.0, at_middle / sqrt(select(square > 0.0, square, 1.0)), 0.0)
    guess = fma(middle - early, slope, middle)
    _narrow(room, searching, middle, at_middle)
    # Rounding must not leave the bracket.
    guess = select(guess < room.late[()], guess, room.late[()])
    guess = select(guess > room.early[()], guess, room.early[()])
    room.time[()] = guess
    room.call(_excess)
    _narrow(room, searching, guess, room.rows[Row.LOSS])
    moved = absolute(guess - room.answer[()])
    width = room.late[()] - room.early[()]
    found = searching & ((moved <= _CLOSE * guess) | (width <= _CLOSE * guess))
    room.answer[()] = select(searching, guess, room.answer[()])
    room.scales[Scale.CONVERGENCE] = select(found, guess, room.scales[Scale.CONVERGENCE])
    room.open[()] = select(found, 0.0, room.open[()])


def _narrow(room: Any, searching: Any, time: Any, excess: Any) -> None:
    """Move one end of the bracket to a time within it."""
    before, behind = searching & (excess > 0.0), searching & (excess <= 0.0)
    room.early[()] = select(before, time, room.early[()])
    room.excess_early[()] = select(before, excess, room.excess_early[()])
    room.late[()] = select(behind, time, room.late[()])
    room.excess_late[()] = select(behind, excess, room.excess_late[()])


@traced()
def _scales_of_vectors(
    code: Any,
    sizes: Sizes,
    which: Any,
    work: Any,
    records: Any,
    seeds: Any,
    points: Any,
    lams: Any,
    fraction: Any,
    out: Any,
    stride: Any,
    health: Any,
) -> None:
    """Write the time scales of the points of some vectors."""
    length = Record(sizes).length
    room = _ROOM.open(code, work)
    for vector in code.loop(0, VECTORS):
        lanes = [vector * WIDTH + lane for lane in range(WIDTH)]
        room.lam[()] = lams.vectors(vector)[0]
        balanced_start(code, room, Spread(records, [seeds[lane] * length for lane in lanes]))
        room.call(begin)
        doubt = code.constant(0.0)
        if Scale.ROTATION in which:
            room.call(_rotation)
        if Scale.ESCAPE in which:
            room.call(_escape)
        if Scale.CONVERGENCE in which:
            for _ in code.flushing():
                _convergence(code, room, fraction)
        target = Spread(out, [points[lane] for lane in lanes])
        for row, scale in enumerate(which):
            value = room.scales[scale]
            target[stride * row] = value
            doubt = doubt + select(value >= 0.0, 0.0, 1.0)
        health.vectors(vector)[0] = select(doubt > 0.0, float(Status.FAILED), float(Status.OK))


@jit
def _scales_of_all(
    sizes: Sizes,
    which: Known,
    work: Array,
    records: Array,
    lam: Array,
    fraction: float,
    out: Array,
    status: Codes,
) -> None:
    seeds, points = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    lams, health = np.empty(LANES), np.empty(LANES)
    for first in range(0, records.shape[0] * lam.size, LANES):
        place(first, lam, records.shape[0] - 1, seeds, points, lams)
        _scales_of_vectors(
            sizes, which, work, records, seeds, points, lams, fraction, out, out.shape[1], health
        )
        store_status(first, health, status)


def time_scales(
    sizes: Sizes, records: Array, lam: Array, fraction: float, which: Integers, out: Array, status: Codes
) -> None:
    """Time scales of the exact flow of a block: S seeds, all lam.

    records: `Record` of S seeds; lam (L,); fraction in (0, 1); which (R,) codes of `Scale`. Writes
    out (R, padded(S L)) and status (padded(S L),), points seed by seed.
    """
    known = Known(tuple(int(scale) for scale in which))
    _scales_of_all(sizes, known, _ROOM.allocate(sizes), records, lam, fraction, out, status)
