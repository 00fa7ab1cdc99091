"""The exact solution along a uniform grid: steps of dt, which share one set of exponentials.

With K as in `evolution`, ``K(t + dt) = exp(w dt) K L^-1`` where ``L^T L = A = I + K^T phi(dt) K``. Square
roots would take most of the time of a step, so it takes none. The state is ``V = sqrt(phi) K D^1/2`` with D
diagonal, for which ``D^1/2 A D^1/2 = D + V^T V = M^T D' M`` with M of unit diagonal. A step replaces V by
``exp(w dt) V M^-1`` and D by D'. The Gram matrix of the new V is summed while its rows are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastlin.kernels.compiler.arithmetic import absolute, fma, select, sqrt
from fastlin.kernels.compiler.elementary import exponentials
from fastlin.kernels.compiler.protocols import Array, Code, Mask, Number, Whole
from fastlin.kernels.compiler.workspace import part
from fastlin.kernels.tolerances import LONGEST_STEP
from fastlin.kernels.vector.evolution import solve_row, solve_rows
from fastlin.kernels.vector.gram import gram, gram_by_planes
from fastlin.kernels.vector.state import Dynamics

# D grows by at most exp(LONGEST_STEP) a step. An entry above this number is brought back to 1.
_LARGEST = 1e100


@part(reads="w cosine sine root", writes="power root to_cosine to_sine")
def prepare_march(code: Code, ws: Dynamics, dt: Number) -> Mask:
    """Write the factors that all steps share. Return where the step is short enough. Elsewhere dt is 0."""
    sizes = code.sizes
    short = 2.0 * ws.w[0] * dt <= LONGEST_STEP
    dt = select(short, dt, 0.0)
    for i in code.loop(0, sizes.n):
        w = ws.w[i]
        power, rise = exponentials(w * dt)
        ws.power[i] = power
        moving = absolute(w) > 0.0
        phi = select(moving, rise * (rise + 2.0) / (2.0 * select(moving, w, 1.0)), dt)
        ws.root[i] = sqrt(select(phi > 0.0, phi, 1.0))
    for a in code.loop(0, sizes.m):
        for i in (a, sizes.n - 1 - a):
            ws.to_cosine[i] = ws.cosine[a] / ws.root[i]
            ws.to_sine[i] = ws.sine[a] / ws.root[i]
    for a in code.loop(sizes.m, sizes.n - sizes.m):
        ws.to_cosine[a] = 1.0 / ws.root[a]
    return short


@part(reads="root k_t state", writes="pivots state gram")
def enter(code: Code, ws: Dynamics) -> None:
    """Begin at the K in k_t."""
    sizes = code.sizes
    for h in code.columns(0, sizes.width):
        ws.pivots[h] = 1.0
        for i in code.loop(0, sizes.n):
            ws.state[i, h] = ws.root[i] * ws.k_t[i, h]
    total = gram(code, ws.state, 0, sizes.n)
    for h in code.columns(0, sizes.width):
        for g in code.columns(0, h + 1):
            ws.gram[h, g] = total[h, g]


@part(reads="power state gram", writes="state gram")
def march(code: Code, ws: Dynamics) -> None:
    """Take one step and write Q(t) = P K(t) to q."""
    sizes = code.sizes
    scale = code.local(sizes.width)
    if not sizes.unrolled:
        _march_by_columns(code, ws, scale)
        return
    lower, total = code.local(sizes.width, sizes.width), code.local(sizes.width, sizes.width)
    for h in code.columns(0, sizes.width):
        for g in code.columns(0, h + 1):
            lower[h, g] = ws.gram[h, g]
    _eliminate(code, ws, lower, scale)
    for h in code.columns(0, sizes.width):
        for g in code.columns(0, h + 1):
            total[h, g] = 0.0
    plus, minus = code.local(sizes.width), code.local(sizes.width)

    def move(i: Whole, out: Array) -> None:
        power = ws.power[i]
        solve_row(code, lambda h: power * ws.state[i, h], lower, out)
        for h in code.columns(0, sizes.width):
            ws.state[i, h] = out[h]
            for g in code.columns(0, h + 1):
                total[h, g] = fma(out[h], out[g], total[h, g])

    for a in code.loop(0, sizes.m):
        move(a, plus)
        move(sizes.n - 1 - a, minus)
        _write_plane(code, ws, a, scale, plus.__getitem__, minus.__getitem__)
    for a in code.loop(sizes.m, sizes.n - sizes.m):
        move(a, plus)
        _write_outside(code, ws, a, scale, plus.__getitem__)
    for h in code.columns(0, sizes.width):
        for g in code.columns(0, h + 1):
            ws.gram[h, g] = total[h, g]


@part(reads="power state gram", writes="state gram")
def _march_by_columns(code: Code, ws: Dynamics, scale: Array) -> None:
    """Take one step where a row does not fit the registers: first all rows, then their products."""
    sizes = code.sizes
    _eliminate(code, ws, ws.gram, scale)
    for i in code.loop(0, sizes.n):
        power = ws.power[i]
        for h in code.columns(0, sizes.width):
            ws.state[i, h] = power * ws.state[i, h]
    code.apart(solve_rows, ws.state, ws.gram)
    for a in code.loop(0, sizes.m):
        _write_plane(
            code, ws, a, scale, partial(_entry, ws.state, a), partial(_entry, ws.state, sizes.n - 1 - a)
        )
    for a in code.loop(sizes.m, sizes.n - sizes.m):
        _write_outside(code, ws, a, scale, partial(_entry, ws.state, a))
    gram_by_planes(code, ws.gram, ws.state)


def _entry(rows: Array, i: Whole, h: Whole) -> Number:
    entry: Number = rows[i, h]
    return entry


@part(reads="to_cosine to_sine", writes="q")
def _write_plane(
    code: Code,
    ws: Dynamics,
    a: Whole,
    scale: Array,
    plus: Callable[[Whole], Number],
    minus: Callable[[Whole], Number],
) -> None:
    """Write the two rows of Q that turn in the plane of mode a, from its growing and its shrinking row."""
    sizes = code.sizes
    b = sizes.n - 1 - a
    for h in code.columns(0, sizes.width):
        x, y = scale[h] * plus(h), scale[h] * minus(h)
        ws.q[a, h] = fma(ws.to_cosine[a], x, -(ws.to_sine[b] * y))
        ws.q[sizes.rows_i + a, h] = fma(ws.to_sine[a], x, ws.to_cosine[b] * y)


@part(reads="to_cosine", writes="q")
def _write_outside(code: Code, ws: Dynamics, a: Whole, scale: Array, row: Callable[[Whole], Number]) -> None:
    """Write the row of Q of an eigen-direction outside the planes."""
    for h in code.columns(0, code.sizes.width):
        ws.q[a + code.sizes.outside_shift, h] = ws.to_cosine[a] * (scale[h] * row(h))


@part(reads="pivots", writes="pivots")
def _eliminate(code: Code, ws: Dynamics, lower: Array, scale: Array) -> None:
    """Factor D + V^T V, given V^T V in lower: M to lower, D' to pivots and its inverse roots to scale.

    Blocks may overwrite entries above the diagonal of lower, which are not read.
    """
    sizes = code.sizes
    multiples = code.local(sizes.width)
    for back in code.columns(0, sizes.width):
        j = sizes.width - 1 - back
        pivot = lower[j, j] + ws.pivots[j]
        ws.pivots[j] = pivot
        scale[j] = 1.0 / sqrt(pivot)
        inverse = 1.0 / pivot
        for h in code.columns(0, j):
            multiples[h] = lower[j, h] * inverse
            for block in code.blocks(h + 1):
                for g in block:
                    lower[h, g] = fma(-multiples[h], lower[j, g], lower[h, g])
        for h in code.columns(0, j):
            lower[j, h] = multiples[h]


@part(reads="pivots")
def outgrown(code: Code, ws: Dynamics) -> Mask:
    """Return where an entry of D must be brought back to 1. Pivots only grow."""
    largest = code.variable(0.0)
    for h in code.columns(0, code.sizes.width):
        largest.value = select(ws.pivots[h] > largest.value, ws.pivots[h], largest.value)
    grown: Mask = largest.value > _LARGEST
    return grown


@part(reads="pivots state gram", writes="pivots state gram")
def renew(code: Code, ws: Dynamics) -> None:
    """Bring large entries of D back to 1. Other lanes keep their bits."""
    sizes, lanes = code.sizes, outgrown(code, ws)
    for h in code.columns(0, sizes.width):
        pivot = ws.pivots[h]
        large = pivot > _LARGEST
        scale = select(large, 1.0 / sqrt(pivot), 1.0)
        ws.pivots[h] = select(large, 1.0, pivot)
        for i in code.loop(0, sizes.n):
            ws.state[i, h] = ws.state[i, h] * scale
    total = gram(code, ws.state, 0, sizes.n)
    for h in code.columns(0, sizes.width):
        for g in code.columns(0, h + 1):
            ws.gram[h, g] = select(lanes, total[h, g], ws.gram[h, g])
