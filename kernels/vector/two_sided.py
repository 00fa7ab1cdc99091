"""The exact solution QQ^T(t) with two-sided balance, kappa > 0 (to our knowledge without a published form).

If ``Q (D - lam I) Q^T = -kappa^2 J`` with ``D = W2^T W2 - W1 W1^T`` and ``J = diag(I, -I)`` (inputs first),
then M = QQ^T obeys ``M' = F M + M F - M^2 + kappa^2 I``. With the eigenvalues w and eigenvectors P of F and
``K = P^T Q(0)``, its solution is::

    M(t) = P (diag(p) + G K A^-1 K^T G) P^T,  A = I + K^T h K
    om = sqrt(w^2 + kappa^2),  z = cosh(om t) - (w / om) sinh(om t)
    G = 1 / z,  h = sinh(om t) / (om z),  p = kappa^2 h

One jump reaches any time, also t = inf, where ``M = P diag(om + w) P^T``. There are no saddles. Q has rank N,
so N_h >= N_i + N_o, and a rotation of the hidden space makes K a lower triangle (N, N). It keeps M.
"""

from __future__ import annotations

from typing import Any

from fastlin.kernels.codes import Start
from fastlin.kernels.compiler.arithmetic import absolute, fma, select, sqrt
from fastlin.kernels.compiler.elementary import exponentials, hypotenuse
from fastlin.kernels.compiler.protocols import Code, Number, Row, Whole
from fastlin.kernels.compiler.workspace import Field, part
from fastlin.kernels.tolerances import LEAST_PIVOT
from fastlin.kernels.vector.balance import write_start
from fastlin.kernels.vector.echelon import reflect_rows
from fastlin.kernels.vector.eigenbasis import eigen_system, to_eigenbasis
from fastlin.kernels.vector.evolution import triangularise
from fastlin.kernels.vector.state import Dynamics


class TwoSided(Dynamics):
    """The arrays of the dynamics, and those of kappa > 0. `width` is N, and `k` is a lower triangle."""

    kappa = Field()
    om = Field("n")  # sqrt(w^2 + kappa^2)
    period = Field("n")  # 1 / om
    low = Field("n")  # 1 - abs(w) / om
    high = Field("n")  # 1 + abs(w) / om

    # At a time
    shrink = Field("n")  # G
    saturation = Field("n")  # h
    lower = Field("width width")  # the lower triangle L of A = L^T D L, whose diagonal is 1
    inverse_pivots = Field("width")  # 1 / D
    cancelled = Field()  # 1 where the elimination of A cancels
    eigen_m = Field("width width")  # P^T M P, its lower triangle
    qqt = Field("n n")  # M, its lower triangle
    qqt_start = Field("n n")  # M(0)


@part(writes="lam kappa")
def two_sided_point(code: Code, ws: TwoSided, lam: Number, kappa: Number, record: Row) -> None:
    """Write the task and the start of a point (seed, lam) with kappa > 0."""
    ws.lam[()], ws.kappa[()] = lam, kappa
    write_start(code, ws, Start.TWO_SIDED, record, kappa)


@part(reads="w kappa", writes="om period low high")
def begin_two_sided(code: Code, ws: TwoSided) -> None:
    """Go from the start in the SVD basis to a triangular K, and write the rates of its rows."""
    eigen_system(code, ws)
    to_eigenbasis(code, ws)
    _triangular_start(code, ws)
    for i in code.loop(0, code.sizes.n):
        size = absolute(ws.w[i])
        om = hypotenuse(size, ws.kappa[()])
        ws.om[i], ws.period[i] = om, 1.0 / om
        ws.low[i] = (ws.kappa[()] / om) * (ws.kappa[()] / (om + size))
        ws.high[i] = 1.0 + size / om


@part(reads="k", writes="k")
def _triangular_start(code: Code, ws: TwoSided) -> None:
    """Rotate the hidden space so that k becomes a lower triangle, fastest direction first."""
    width = code.sizes.width
    along = code.local(width)
    for h in code.columns(0, width):
        along[h] = 0.0
    for i in code.columns(0, width):
        square = code.variable(0.0)
        for h in code.columns(i, width):
            along[h] = ws.k[i, h]
            square.value = fma(along[h], along[h], square.value)
        norm, head = sqrt(square.value), along[i]
        diagonal = select(head < 0.0, norm, -norm)
        product = norm * (absolute(head) + norm)
        positive = product > 0.0
        for h in code.columns(i, width):
            ws.k[i, h] = 0.0
        ws.k[i, i] = diagonal
        along[i] = head - diagonal
        reflect_rows(code, ws, i + 1, along, select(positive, 1.0 / select(positive, product, 1.0), 0.0))
        along[i] = 0.0


@part(reads="cancelled")
def jump_two_sided(code: Code, ws: TwoSided) -> None:
    """Write M to `qqt` at the time in `time`, which may be infinite."""
    ws.call(code, _write_factors)
    ws.call(code, _factor)
    with code.when(ws.cancelled[()] > 0.0):
        ws.call(code, _factor_by_reflections)
    ws.call(code, _divide)
    ws.call(code, _rotate_back)


@part(reads="om period low high w time", writes="shrink saturation")
def _write_factors(code: Code, ws: TwoSided) -> None:
    """Write G and h of all rows: ``z = e^(om t) (up + dn e^(-2 om t)) / 2`` with up, dn = 1 -+ w / om."""
    sizes = code.sizes

    def decays(i: Whole) -> tuple[Any, Any, Any, Any]:
        decay, fall = exponentials(-(ws.om[i] * ws.time[()]))
        low, high, square = ws.low[i], ws.high[i], decay * decay
        growing, shrinking = fma(high, square, low), fma(low, square, high)
        inverse = 1.0 / (growing * shrinking)
        saturation = -(fall * (fall + 2.0)) * ws.period[i]
        return 2.0 * decay, saturation, shrinking * inverse, growing * inverse

    for a in code.loop(0, sizes.m):
        shrink, saturation, grown, shrunk = decays(a)
        b = sizes.n - 1 - a
        ws.shrink[a], ws.saturation[a] = shrink * grown, saturation * grown
        ws.shrink[b], ws.saturation[b] = shrink * shrunk, saturation * shrunk

    def outside_the_planes() -> None:
        shrink, saturation, grown, shrunk = decays(sizes.m)
        inverse = select(ws.w[sizes.m] > 0.0, grown, shrunk)
        for a in code.loop(sizes.m, sizes.n - sizes.m):
            ws.shrink[a], ws.saturation[a] = shrink * inverse, saturation * inverse

    code.given(sizes.outside, outside_the_planes)


@part(reads="k saturation lower qr_rows", writes="lower qr_rows inverse_pivots cancelled")
def _factor(code: Code, ws: TwoSided) -> None:
    """Factor A = I + K^T h K = L^T D L, last column first, and say where that cancels.

    Row j of A is computed just before its elimination, which then does not wait for the pivot before it.
    """
    width = code.sizes.width
    lower, products = ws.lower, ws.qr_rows  # L, and D L
    if code.sizes.unrolled:
        lower, products = code.local(width, width), code.local(width, width)
    scaled, least = code.local(width), code.variable(1.0)
    for back in code.columns(0, width):
        j = width - 1 - back
        for i in code.columns(j, width):
            scaled[i] = ws.saturation[i] * ws.k[i, j]
        for block in code.blocks(j + 1):
            sums = [code.variable(code.constant(0.0)) for _ in block]
            for i in code.columns(j, width):
                for g, each in zip(block, sums, strict=True):
                    each.value = fma(scaled[i], ws.k[i, g], each.value)
            for g, each in zip(block, sums, strict=True):
                products[j, g] = each.value
        diagonal = products[j, j] + 1.0
        products[j, j] = diagonal
        for block in code.blocks(j + 1):
            rest = [code.variable(products[j, g]) for g in block]
            for before in code.columns(0, back):
                row = width - 1 - before
                for g, each in zip(block, rest, strict=True):
                    each.value = fma(-lower[row, j], products[row, g], each.value)
            for g, each in zip(block, rest, strict=True):
                products[j, g] = each.value
        pivot = products[j, j]
        inverse = 1.0 / pivot
        ws.inverse_pivots[j] = inverse
        left = pivot - LEAST_PIVOT * diagonal
        least.value = select(left < least.value, left, least.value)
        for h in code.columns(0, j):
            lower[j, h] = products[j, h] * inverse
            if code.sizes.unrolled:
                ws.lower[j, h] = lower[j, h]
    ws.cancelled[()] = select(least.value < 0.0, 1.0, 0.0)


@part(reads="k saturation qr_rows cancelled lower inverse_pivots", writes="qr_rows lower inverse_pivots")
def _factor_by_reflections(code: Code, ws: TwoSided) -> None:
    """Factor A by a QL decomposition of [I; sqrt(h) K] where its elimination cancels."""
    width = code.sizes.width
    cancelled = ws.cancelled[()] > 0.0
    ones = code.local(width)
    for i in code.columns(0, width):
        root = sqrt(ws.saturation[i])
        ones[i] = 1.0
        for h in code.columns(0, width):
            ws.qr_rows[i, h] = root * ws.k[i, h]
    lower = triangularise(code, ws, ones)
    for j in code.columns(0, width):
        inverse = lower[j, j] * lower[j, j]
        ws.inverse_pivots[j] = select(cancelled, inverse, ws.inverse_pivots[j])
        for h in code.columns(0, j):
            ws.lower[j, h] = select(cancelled, lower[j, h], ws.lower[j, h])


@part(
    reads="k k_t qr_rows shrink saturation kappa lower inverse_pivots eigen_m", writes="k_t qr_rows eigen_m"
)
def _divide(code: Code, ws: TwoSided) -> None:
    """Write P^T M P = diag(p) + Y D^-1 Y^T with Y = G K L^-1."""
    width = code.sizes.width
    rows, divided = ws.k_t, ws.qr_rows
    if code.sizes.unrolled:
        rows, divided = code.local(width, width), code.local(width, width)
    for some in code.blocks(width):
        end = some[-1] + 1
        for back in code.columns(0, end):
            h = end - 1 - back
            rest = [code.variable(ws.shrink[i] * ws.k[i, h]) for i in some]
            for j in code.columns(h + 1, end):
                entry = ws.lower[j, h]
                for i, each in zip(some, rest, strict=True):
                    each.value = fma(-rows[i, j], entry, each.value)
            for i, each in zip(some, rest, strict=True):
                rows[i, h] = each.value
                divided[i, h] = each.value * ws.inverse_pivots[h]
        for others in code.blocks(end):
            sums = [[code.variable(code.constant(0.0)) for _ in others] for _ in some]
            for h in code.columns(0, others[-1] + 1):
                heads = [rows[i, h] for i in some]
                for place, j in enumerate(others):
                    entry = divided[j, h]
                    for head, row in zip(heads, sums, strict=True):
                        row[place].value = fma(head, entry, row[place].value)
            for i, row in zip(some, sums, strict=True):
                for j, each in zip(others, row, strict=True):
                    ws.eigen_m[i, j] = each.value
    for i in code.columns(0, width):
        p = ws.kappa[()] * (ws.kappa[()] * ws.saturation[i])
        ws.eigen_m[i, i] = ws.eigen_m[i, i] + p


@part(reads="eigen_m cosine sine", writes="qqt")
def _rotate_back(code: Code, ws: TwoSided) -> None:
    """Write the lower triangle of M, from that of P^T M P."""
    sizes, m = code.sizes, ws.eigen_m

    def plane(a: Whole) -> tuple[Number, Number, Whole, Whole]:
        return ws.cosine[a], ws.sine[a], sizes.n - 1 - a, sizes.n_i + a

    for a in code.loop(0, sizes.m):
        cosine_a, sine_a, minus_a, u_a = plane(a)
        for b in code.loop(0, a):
            cosine, sine, minus_b, u_b = plane(b)
            # The plane of a turns first, then that of b.
            v_plus = fma(cosine_a, m[a, b], -(sine_a * m[minus_a, b]))
            v_minus = fma(cosine_a, m[minus_b, a], -(sine_a * m[minus_b, minus_a]))
            u_plus = fma(sine_a, m[a, b], cosine_a * m[minus_a, b])
            u_minus = fma(sine_a, m[minus_b, a], cosine_a * m[minus_b, minus_a])
            ws.qqt[a, b] = fma(cosine, v_plus, -(sine * v_minus))
            ws.qqt[u_b, a] = fma(sine, v_plus, cosine * v_minus)
            ws.qqt[u_a, b] = fma(cosine, u_plus, -(sine * u_minus))
            ws.qqt[u_a, u_b] = fma(sine, u_plus, cosine * u_minus)
        plus, between, minus = m[a, a], m[minus_a, a], m[minus_a, minus_a]
        v_plus = fma(cosine_a, plus, -(sine_a * between))
        v_minus = fma(cosine_a, between, -(sine_a * minus))
        u_plus = fma(sine_a, plus, cosine_a * between)
        u_minus = fma(sine_a, between, cosine_a * minus)
        ws.qqt[a, a] = fma(cosine_a, v_plus, -(sine_a * v_minus))
        ws.qqt[u_a, a] = fma(cosine_a, u_plus, -(sine_a * u_minus))
        ws.qqt[u_a, u_a] = fma(sine_a, u_plus, cosine_a * u_minus)
    for c in code.loop(sizes.m, sizes.n - sizes.m):
        unit = c + sizes.outside_shift
        for a in code.loop(0, sizes.m):
            cosine_a, sine_a, minus_a, u_a = plane(a)
            ws.qqt[unit, a] = fma(cosine_a, m[c, a], -(sine_a * m[minus_a, c]))
            row, column = (
                code.choose(sizes.more_outputs, unit, u_a),
                code.choose(sizes.more_outputs, u_a, unit),
            )
            ws.qqt[row, column] = fma(sine_a, m[c, a], cosine_a * m[minus_a, c])
        for d in code.loop(sizes.m, c + 1):
            ws.qqt[unit, d + sizes.outside_shift] = m[c, d]
