"""The exact solution QQ^T(t) in the eigenbasis of F (Eq 2, stably evaluated), at any time.

With K = P^T Q(0) in echelon form (see `echelon`) and ``A = I + K^T phi K``, ``phi = expm1(2wt) / (2w)``, it
is ``K(t) = exp(wt) K L^-1`` for any L with ``A = L^T L``. L is taken lower triangular, as then K(t) keeps
the echelon form, and with it every saddle.

At any time in O(1): column h of A is scaled by ``D = exp(-growth_h t)``, A is never formed but factored by a
QL decomposition of ``[D; sqrt(phi) K D]``. All exponents are <= 0, so nothing overflows at any t, and
t = inf is the same formula with its limits put in. `march` knows a shorter way along a uniform grid.
"""

from typing import Any

from fastlin.kernels.eigenbasis import beyond
from fastlin.kernels.functions import exp, exponentials
from fastlin.kernels.lanes import absolute, fma, select, sqrt


class Finite:
    """Factors of decay at a finite time."""

    def __init__(self, t: Any) -> None:
        self.t = t

    def decay(self, rate: Any) -> Any:
        """exp(rate t) for rate <= 0."""
        return exp(rate * self.t)

    def pair(self, w: Any) -> tuple[Any, Any]:
        """exp(-abs(w) t), and phi exp(-2 max(w, 0) t) = -expm1(-2|w|t) / (2|w|), at most t and 1/(2|w|)."""
        rate = absolute(w)
        shrink, fall = exponentials(-(rate * self.t))
        saturation = -(fall * (fall + 2.0)) / (2.0 * select(rate > 0.0, rate, 1.0))
        return shrink, select(rate > 0.0, saturation, self.t)


class Limit:
    """The same at t = inf, where rates within `tie` of 0 are 0, as the SVD cannot tell them apart."""

    def __init__(self, tie: Any) -> None:
        self.tie = tie

    def decay(self, rate: Any) -> Any:
        """1 for no rate, 0 for the others."""
        return select(rate >= -self.tie, 1.0, 0.0)

    def pair(self, w: Any) -> tuple[Any, Any]:
        """0 and 1/(2|w|); a direction at rest decays like 1/sqrt(t), which is 0 in the end."""
        rate = absolute(w)
        return w.code.constant(0.0), select(rate > 0.0, 0.5 / select(rate > 0.0, rate, 1.0), 1.0)


def jump(code: Any, room: Any, when: Any) -> Any:
    """Factor A at a time that `when` knows: sqrt(phi) K D in stack, exp(wt) K D in moved.

    Returns L, as the inverse of its diagonal and below it the rows over their diagonal.
    """
    sizes = code.sizes
    scale = code.local(sizes.width)
    for h in code.columns(0, sizes.width):
        growth = room.growth[h]
        scale[h] = select(growth > 0.0, when.decay(-growth), 1.0)
    for a in code.loop(0, sizes.m):
        shrink, saturation = when.pair(room.w[a])
        root = sqrt(saturation)
        for h in code.columns(0, sizes.width):
            _write_row(room, a, h, root, 1.0, _relative(when, room.lift[a], room.lead[h]))
            _write_row(room, sizes.n - 1 - a, h, root, shrink, scale[h])
    if sizes.n > 2 * sizes.m:
        w = room.w[sizes.m]  # one for all directions outside the planes
        shrink, saturation = when.pair(w)
        root, shrink = sqrt(saturation), select(w > 0.0, 1.0, shrink)
        for h in code.columns(0, sizes.width):
            relative = select(w > 0.0, _relative(when, 0.0, room.lead[h]), scale[h])
            for a in code.loop(sizes.m, sizes.n - sizes.m):
                _write_row(room, a, h, root, shrink, relative)
    return _triangularise(code, room, scale)


def _relative(when: Any, lift: Any, lead: Any) -> Any:
    behind = lift - lead
    return when.decay(select(behind < 0.0, behind, 0.0))


def _write_row(room: Any, i: Any, h: Any, root: Any, shrink: Any, relative: Any) -> None:
    value = room.k[i, h] * relative
    room.stack[i, h] = root * value
    room.moved[i, h] = shrink * value


def _triangularise(code: Any, room: Any, scale: Any) -> Any:
    """Householder QL of [diag(scale); stack], last column first; the columns of stack are spent."""
    sizes = code.sizes
    lower, dots = code.local(sizes.width, sizes.width), code.local(sizes.width)
    for back in code.columns(0, sizes.width):
        j = sizes.width - 1 - back
        square = code.variable(0.0)
        for h in code.columns(0, j):
            dots[h] = 0.0
        for i in code.loop(0, sizes.n):
            head = room.stack[i, j]
            square.now = fma(head, head, square.now)
            for h in code.columns(0, j):
                dots[h] = fma(head, room.stack[i, h], dots[h])
        # scale >= 0, so adding the norm to it does not cancel.
        norm = sqrt(fma(scale[j], scale[j], square.now))
        top = scale[j] + norm
        inverse = 1.0 / norm
        factor = inverse / top
        lower[j, j] = inverse
        for h in code.columns(0, j):
            dots[h] = dots[h] * factor
            lower[j, h] = dots[h] * (top * inverse)
        for i in code.loop(0, sizes.n):
            head = room.stack[i, j]
            for h in code.columns(0, j):
                room.stack[i, h] = fma(-dots[h], head, room.stack[i, h])
    return lower


def divide(code: Any, room: Any, lower: Any, want: Any) -> None:
    """Turn moved into K(t) = moved L^-1 and write Q(t) = P K(t) to q, in the lanes that `want` it."""
    sizes = code.sizes
    plus, minus = code.local(sizes.width), code.local(sizes.width)

    def solve(i: Any, out: Any) -> None:
        solve_row(code, lambda h: room.moved[i, h], lower, out)
        for h in code.columns(0, sizes.width):
            out[h] = out[h] * lower[h, h]
            room.moved[i, h] = out[h]

    for a in code.loop(0, sizes.m):
        solve(a, plus)
        solve(sizes.n - 1 - a, minus)
        cosine, sine = room.cosine[a], room.sine[a]
        for h in code.columns(0, sizes.width):
            x, y = plus[h], minus[h]
            _put(room.q, (a, h), fma(cosine, x, -(sine * y)), want)
            _put(room.q, (sizes.rows_i + a, h), fma(sine, x, cosine * y), want)
    for a in code.loop(sizes.m, sizes.n - sizes.m):
        solve(a, plus)
        for h in code.columns(0, sizes.width):
            _put(room.q, (a + beyond(sizes), h), plus[h], want)


def solve_row(code: Any, row: Any, lower: Any, out: Any) -> None:
    """Solve out M = row for M of unit diagonal, given below it, last column first."""
    width = code.sizes.width
    for back in code.columns(0, width):
        h = width - 1 - back
        rest = code.variable(row(h))
        for j in code.columns(h + 1, width):
            rest.now = fma(-out[j], lower[j, h], rest.now)
        out[h] = rest.now


def _put(array: Any, index: Any, value: Any, want: Any) -> None:
    array[index] = value if want is None else select(want, value, array[index])
