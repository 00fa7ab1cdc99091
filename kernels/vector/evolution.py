"""The exact solution QQ^T(t) in the eigenbasis of F (Eq 2, stably evaluated), at any time.

With K = P^T Q(0) in echelon form (see `echelon`) and ``A = I + K^T phi K``, ``phi = expm1(2wt) / (2w)``, the
solution is ``K(t) = exp(wt) K L^-1`` for any L with ``A = L^T L``. L is lower triangular here, because K(t)
then keeps the echelon form, and with it every saddle.

A jump to any time costs O(1). Column h of A is scaled by ``D = exp(-column_rate_h t)``. A is never formed. A
QL decomposition of ``[D; sqrt(phi) K D]`` gives its factor. All exponents are <= 0, so nothing overflows at
any t, and t = inf is the limit of the same formula. `march` is faster along a uniform grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from fastlin.kernels.compiler.arithmetic import absolute, fma, select, sqrt
from fastlin.kernels.compiler.elementary import exp, exponentials
from fastlin.kernels.compiler.protocols import Array, Code, Mask, Number, Operand, Whole
from fastlin.kernels.compiler.workspace import part
from fastlin.kernels.tolerances import TIE
from fastlin.kernels.vector.state import Dynamics


class Decay(Protocol):
    """Factors of decay at a time."""

    def decay(self, rate: Any) -> Any:
        """Return exp(rate t) for rate <= 0."""

    def pair(self, w: Any) -> tuple[Any, Any]:
        """Return exp(-abs(w) t), and phi exp(-2 max(w, 0) t) = -expm1(-2|w|t) / (2|w|)."""


class Finite:
    """Factors of decay at a finite time. The second of a pair is at most t, and at most 1/(2|w|)."""

    def __init__(self, t: Number) -> None:
        self.t = t

    def decay(self, rate: Any) -> Any:
        """Return exp(rate t)."""
        return exp(rate * self.t)

    def pair(self, w: Any) -> tuple[Any, Any]:
        """Return exp(-abs(w) t) and -expm1(-2|w|t) / (2|w|), t where w = 0."""
        rate = absolute(w)
        shrink, fall = exponentials(-(rate * self.t))
        saturation = -(fall * (fall + 2.0)) / (2.0 * select(rate > 0.0, rate, 1.0))
        return shrink, select(rate > 0.0, saturation, self.t)


class Limit:
    """Factors of decay at t = inf. Rates within `tie` of 0 are 0, because the SVD cannot tell them apart."""

    def __init__(self, zero: Number, tie: Number) -> None:
        self.zero, self.tie = zero, tie

    def decay(self, rate: Any) -> Any:
        """Return 1 for a rate of 0, and 0 for all others."""
        return select(rate >= -self.tie, 1.0, 0.0)

    def pair(self, w: Any) -> tuple[Any, Any]:
        """Return 0 and 1/(2|w|). A direction with w = 0 decays like 1/sqrt(t). Its limit is 0."""
        rate = absolute(w)
        return self.zero, select(rate > 0.0, 0.5 / select(rate > 0.0, rate, 1.0), 1.0)


@part(reads="time jumping")
def jump_to_time(code: Code, ws: Dynamics) -> None:
    """Bring Q in q from the start to the time in `time` of each network, where `jumping` is 1."""
    divide(code, ws, jump(code, ws, Finite(ws.time[()])), ws.jumping[()] > 0.0)


@part(reads="excess_rate")
def limit(code: Code, ws: Dynamics) -> None:
    """Bring Q in q to t = inf."""
    tie = code.real(code.sizes.n) * TIE * ws.excess_rate[0]
    divide(code, ws, jump(code, ws, Limit(code.constant(0.0), tie)), None)


@part(reads="k w excess_rate column_rate column_excess qr_rows", writes="k_t qr_rows")
def jump(code: Code, ws: Dynamics, when: Decay) -> Array:
    """Factor A at the time of `when`, with sqrt(phi) K D in qr_rows and exp(wt) K D in k_t.

    Returns L: the inverse of its diagonal, and below the diagonal its rows divided by their diagonal entry.
    """
    sizes = code.sizes
    scale = code.local(sizes.width)
    for h in code.columns(0, sizes.width):
        rate = ws.column_rate[h]
        scale[h] = select(rate > 0.0, when.decay(-rate), 1.0)
    for a in code.loop(0, sizes.m):
        shrink, saturation = when.pair(ws.w[a])
        root = sqrt(saturation)
        for h in code.columns(0, sizes.width):
            _write_row(ws, a, h, root, 1.0, _relative(when, ws.excess_rate[a], ws.column_excess[h]))
            _write_row(ws, sizes.n - 1 - a, h, root, shrink, scale[h])

    def outside_the_planes() -> None:
        w = ws.w[sizes.m]  # one for all directions there
        shrink, saturation = when.pair(w)
        root, shrink = sqrt(saturation), select(w > 0.0, 1.0, shrink)
        for h in code.columns(0, sizes.width):
            relative = select(w > 0.0, _relative(when, 0.0, ws.column_excess[h]), scale[h])
            for a in code.loop(sizes.m, sizes.n - sizes.m):
                _write_row(ws, a, h, root, shrink, relative)

    code.given(sizes.outside, outside_the_planes)
    return triangularise(code, ws, scale)


def _relative(when: Decay, row_excess: Operand, column_excess: Any) -> Any:
    behind = row_excess - column_excess
    return when.decay(select(behind < 0.0, behind, 0.0))


def _write_row(ws: Dynamics, i: Whole, h: Whole, root: Any, shrink: Any, relative: Any) -> None:
    value = ws.k[i, h] * relative
    ws.qr_rows[i, h] = root * value
    ws.k_t[i, h] = shrink * value


def triangularise(code: Code, ws: Dynamics, scale: Array) -> Array:
    """Return L of the Householder QL of [diag(scale); qr_rows], last column first. qr_rows is overwritten."""
    sizes = code.sizes
    lower, dots = code.local(sizes.width, sizes.width), code.local(sizes.width)
    for back in code.columns(0, sizes.width):
        j = sizes.width - 1 - back
        if sizes.unrolled:
            for h in code.columns(0, j + 1):
                dots[h] = 0.0
            for i in code.loop(0, sizes.n):
                head = ws.qr_rows[i, j]
                for h in code.columns(0, j + 1):
                    dots[h] = fma(head, ws.qr_rows[i, h], dots[h])
        else:
            code.apart(_dot_columns, dots, ws.qr_rows, j)
        # scale >= 0, so adding the norm to it does not cancel.
        norm = sqrt(fma(scale[j], scale[j], dots[j]))
        top = scale[j] + norm
        inverse = 1.0 / norm
        factor = inverse / top
        lower[j, j] = inverse
        for h in code.columns(0, j):
            dots[h] = dots[h] * factor
            lower[j, h] = dots[h] * (top * inverse)
        if sizes.unrolled:
            for i in code.loop(0, sizes.n):
                head = ws.qr_rows[i, j]
                for h in code.columns(0, j):
                    ws.qr_rows[i, h] = fma(-dots[h], head, ws.qr_rows[i, h])
        else:
            code.apart(_subtract_column, ws.qr_rows, j, dots)
    return lower


def _dot_columns(code: Code, dots: Array, rows: Array, j: Whole) -> None:
    """Write the products of column j with those before it and with itself."""
    for block in code.blocks(j + 1):
        sums = [code.variable(0.0) for _ in block]
        for i in code.loop(0, code.sizes.n):
            head = rows[i, j]
            for h, each in zip(block, sums, strict=True):
                each.value = fma(head, rows[i, h], each.value)
        for h, each in zip(block, sums, strict=True):
            dots[h] = each.value


def _subtract_column(code: Code, rows: Array, j: Whole, multiples: Array) -> None:
    """Subtract multiples of column j from the columns before it.

    The last block may write to columns from j on, which are not read any more.
    """
    for block in code.blocks(j):
        heads = [-multiples[h] for h in block]
        for i in code.loop(0, code.sizes.n):
            entry = rows[i, j]
            for h, head in zip(block, heads, strict=True):
                rows[i, h] = fma(head, entry, rows[i, h])


@part(reads="k_t cosine sine q", writes="k_t q")
def divide(code: Code, ws: Dynamics, lower: Array, where: Mask | None) -> None:
    """Turn k_t into K(t) = k_t L^-1 and write Q(t) = P K(t) to q, in the lanes of a mask or in all."""
    sizes = code.sizes
    plus, minus = code.local(sizes.width), code.local(sizes.width)
    if not sizes.unrolled:
        code.apart(solve_rows, ws.k_t, lower)

    def solve(i: Whole, out: Array) -> None:
        if sizes.unrolled:
            solve_row(code, lambda h: ws.k_t[i, h], lower, out)
        for h in code.columns(0, sizes.width):
            out[h] = (out[h] if sizes.unrolled else ws.k_t[i, h]) * lower[h, h]
            ws.k_t[i, h] = out[h]

    def put(i: Whole, h: Whole, value: Number) -> None:
        ws.q[i, h] = value if where is None else select(where, value, ws.q[i, h])

    for a in code.loop(0, sizes.m):
        solve(a, plus)
        solve(sizes.n - 1 - a, minus)
        cosine, sine = ws.cosine[a], ws.sine[a]
        for h in code.columns(0, sizes.width):
            x, y = plus[h], minus[h]
            put(a, h, fma(cosine, x, -(sine * y)))
            put(sizes.rows_i + a, h, fma(sine, x, cosine * y))
    for a in code.loop(sizes.m, sizes.n - sizes.m):
        solve(a, plus)
        for h in code.columns(0, sizes.width):
            put(a + sizes.outside_shift, h, plus[h])


def solve_row(code: Code, row: Callable[[Whole], Number], lower: Array, out: Array) -> None:
    """Solve out M = row for M of unit diagonal, given below it, last column first."""
    width = code.sizes.width
    for back in code.columns(0, width):
        h = width - 1 - back
        rest = code.variable(row(h))
        for j in code.columns(h + 1, width):
            rest.value = fma(-out[j], lower[j, h], rest.value)
        out[h] = rest.value


def solve_rows(code: Code, rows: Array, lower: Array) -> None:
    """Solve for all rows (n, width) in place, several at a time, because a sum waits for the one before."""
    width = code.sizes.width
    for some in code.rows(0, code.sizes.n):
        latest = [code.variable(rows[i, width - 1]) for i in some]
        for back in code.columns(1, width):
            h = width - 1 - back
            rest = [code.variable(rows[i, h]) for i in some]
            entry = lower[h + 1, h]
            for before, each in zip(latest, rest, strict=True):
                each.value = fma(-before.value, entry, each.value)
            for j in code.columns(h + 2, width):
                entry = lower[j, h]
                for i, each in zip(some, rest, strict=True):
                    each.value = fma(-rows[i, j], entry, each.value)
            for i, before, each in zip(some, latest, rest, strict=True):
                rows[i, h] = each.value
                before.value = each.value
