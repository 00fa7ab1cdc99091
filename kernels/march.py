"""The exact solution along a uniform grid: a step of dt from the time before, with one set of exponentials.

With K as in `evolution`, ``K(t + dt) = exp(w dt) K L^-1`` where ``L^T L = A = I + K^T phi(dt) K``. Roots
would be most of what one step waits for, so none is taken: the state is ``V = sqrt(phi) K D^1/2`` with D
diagonal, for which ``D^1/2 A D^1/2 = D + V^T V = M^T D' M`` with M of unit diagonal; then V goes over into
``exp(w dt) V M^-1`` and D into D'. The Gram matrix of the new V is summed as its rows appear.
"""

from typing import Any

from fastlin.kernels.eigenbasis import beyond
from fastlin.kernels.evolution import solve_row
from fastlin.kernels.functions import exponentials
from fastlin.kernels.gram import gram
from fastlin.kernels.lanes import absolute, fma, select, sqrt

# Longest step, as 2 r dt: beyond it the elimination loses digits (DESIGN 2).
LONGEST_STEP = 10.0
# D grows by at most exp(LONGEST_STEP) a step, and is brought back to 1 from here.
_LARGEST = 1e100


def prepare_march(code: Any, room: Any, dt: Any) -> Any:
    """Write what all steps share; return where the step is short enough, elsewhere nothing moves."""
    sizes = code.sizes
    short = 2.0 * room.w[0] * dt <= LONGEST_STEP
    dt = select(short, dt, 0.0)
    for i in code.loop(0, sizes.n):
        w = room.w[i]
        power, rise = exponentials(w * dt)
        room.power[i] = power
        moving = absolute(w) > 0.0
        phi = select(moving, rise * (rise + 2.0) / (2.0 * select(moving, w, 1.0)), dt)
        room.root[i] = sqrt(select(phi > 0.0, phi, 1.0))
    for a in code.loop(0, sizes.m):
        for i in (a, sizes.n - 1 - a):
            room.to_cosine[i] = room.cosine[a] / room.root[i]
            room.to_sine[i] = room.sine[a] / room.root[i]
    for a in code.loop(sizes.m, sizes.n - sizes.m):
        room.to_cosine[a] = 1.0 / room.root[a]
    return short


def enter(code: Any, room: Any) -> None:
    """Begin at the K in moved."""
    sizes = code.sizes
    for h in code.columns(0, sizes.width):
        room.pivots[h] = 1.0
        for i in code.loop(0, sizes.n):
            room.state[i, h] = room.root[i] * room.moved[i, h]
    total = gram(code, room.state, 0, sizes.n)
    for h in code.columns(0, sizes.width):
        for g in code.columns(0, h + 1):
            room.gram[h, g] = total[h, g]


def march(code: Any, room: Any) -> None:
    """Go one step on and write Q(t) = P K(t) to q."""
    sizes = code.sizes
    lower, total = code.local(sizes.width, sizes.width), code.local(sizes.width, sizes.width)
    scale = code.local(sizes.width)
    _eliminate(code, room, lower, scale)
    for h in code.columns(0, sizes.width):
        for g in code.columns(0, h + 1):
            total[h, g] = 0.0
    plus, minus = code.local(sizes.width), code.local(sizes.width)

    def move(i: Any, out: Any) -> None:
        power = room.power[i]
        solve_row(code, lambda h: power * room.state[i, h], lower, out)
        for h in code.columns(0, sizes.width):
            room.state[i, h] = out[h]
            for g in code.columns(0, h + 1):
                total[h, g] = fma(out[h], out[g], total[h, g])

    for a in code.loop(0, sizes.m):
        b = sizes.n - 1 - a
        move(a, plus)
        move(b, minus)
        for h in code.columns(0, sizes.width):
            x, y = scale[h] * plus[h], scale[h] * minus[h]
            room.q[a, h] = fma(room.to_cosine[a], x, -(room.to_sine[b] * y))
            room.q[sizes.rows_i + a, h] = fma(room.to_sine[a], x, room.to_cosine[b] * y)
    for a in code.loop(sizes.m, sizes.n - sizes.m):
        move(a, plus)
        for h in code.columns(0, sizes.width):
            room.q[a + beyond(sizes), h] = room.to_cosine[a] * (scale[h] * plus[h])
    for h in code.columns(0, sizes.width):
        for g in code.columns(0, h + 1):
            room.gram[h, g] = total[h, g]


def _eliminate(code: Any, room: Any, lower: Any, scale: Any) -> None:
    """Factor D + V^T V: M to lower, D' to pivots and its inverse roots to scale."""
    sizes = code.sizes
    multiples = code.local(sizes.width)
    for h in code.columns(0, sizes.width):
        for g in code.columns(0, h + 1):
            lower[h, g] = room.gram[h, g]
    for back in code.columns(0, sizes.width):
        j = sizes.width - 1 - back
        pivot = lower[j, j] + room.pivots[j]
        room.pivots[j] = pivot
        scale[j] = 1.0 / sqrt(pivot)
        inverse = 1.0 / pivot
        for h in code.columns(0, j):
            multiples[h] = lower[j, h] * inverse
            for g in code.columns(0, h + 1):
                lower[h, g] = fma(-multiples[h], lower[j, g], lower[h, g])
        for h in code.columns(0, j):
            lower[j, h] = multiples[h]


def grown(code: Any, room: Any) -> Any:
    """Return where D is to be brought back to 1; pivots only grow."""
    largest = code.variable(0.0)
    for h in code.columns(0, code.sizes.width):
        largest.now = select(room.pivots[h] > largest.now, room.pivots[h], largest.now)
    return largest.now > _LARGEST


def renew(code: Any, room: Any) -> None:
    """Bring large entries of D back to 1; other lanes keep their bits."""
    sizes, lanes = code.sizes, grown(code, room)
    for h in code.columns(0, sizes.width):
        pivot = room.pivots[h]
        large = pivot > _LARGEST
        scale = select(large, 1.0 / sqrt(pivot), 1.0)
        room.pivots[h] = select(large, 1.0, pivot)
        for i in code.loop(0, sizes.n):
            room.state[i, h] = room.state[i, h] * scale
    total = gram(code, room.state, 0, sizes.n)
    for h in code.columns(0, sizes.width):
        for g in code.columns(0, h + 1):
            room.gram[h, g] = select(lanes, total[h, g], room.gram[h, g])
