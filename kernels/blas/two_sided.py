"""The exact solution of one network with two-sided balance (see `vector.two_sided`), on LAPACK.

Columns of K are ordered slowest direction first, the reverse of `vector.two_sided`, so that the factors of A
are upper triangles. `q` and `k` are arrays (N, N) whose rows are the columns of the matrix. Of QQ^T only the
lower triangle is written.
"""

from typing import NamedTuple

import numpy as np

from fastlin.kernels.blas.evolution import first_beyond, rotate_into, transpose, write_eigen_system
from fastlin.kernels.blas.matrices import divide, gram_of_columns, gram_of_rows, triangularise
from fastlin.kernels.blas.observables import rank_of
from fastlin.kernels.blas.routines import ddot, dgeqrf, dgesdd_n, dpotrf
from fastlin.kernels.blas.workspace import Evolving, Shape
from fastlin.kernels.codes import Output
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.sizes import TwoSidedSizes
from fastlin.kernels.tolerances import LEAST_PIVOT


class Riccati(NamedTuple):
    """The arrays of kappa > 0 beside those of `Evolving`, and those of the outputs."""

    om: Array  # (N,) sqrt(w^2 + kappa^2)
    low: Array  # (N,) 1 - abs(w) / om
    high: Array  # (N,) 1 + abs(w) / om
    shrink: Array  # (N,) G
    saturation: Array  # (N,) h
    diagonal: Array  # (N,) that of A
    eigen_m: Array  # (N, N) P^T M P
    qqt: Array  # (N, N) M
    qqt_start: Array  # (N, N) M(0)
    product: Array  # (N_o N_i,) W2 W1
    values: Array  # (m,) its singular values
    scratch: Array  # for LAPACK
    integers: Integers  # for LAPACK


def riccati(sizes: TwoSidedSizes) -> Riccati:
    """Return arrays for one network."""
    n, m = sizes.n, sizes.m
    om, low, high, shrink, saturation, diagonal = np.empty((6, n))
    eigen_m, qqt, qqt_start = np.zeros((3, n, n))
    return Riccati(
        om=om,
        low=low,
        high=high,
        shrink=shrink,
        saturation=saturation,
        diagonal=diagonal,
        eigen_m=eigen_m,
        qqt=qqt,
        qqt_start=qqt_start,
        product=np.empty(sizes.n_i * sizes.n_o),
        values=np.empty(m),
        scratch=np.empty(10 * m + 64 * n),
        integers=np.empty(8 * m, np.int64),
    )


@callee
def begin_two_sided(
    shape: Shape, lam: float, kappa: float, s: Array, q: Array, ws: Evolving, more: Riccati
) -> bool:
    """Bring a start q (N, N) to a triangular K. Return False if LAPACK fails."""
    n = shape.n
    write_eigen_system(shape, lam, s, ws)
    rotate_into(shape, q, ws.k_t, ws)
    transpose(ws.k_t, ws.transposed)
    error: int = dgeqrf(n, n, ws.transposed, n, ws.tau, ws.scratch, ws.scratch.size)
    for c in range(n):
        h = n - 1 - c
        for i in range(n):
            # LAPACK keeps its reflections above the diagonal.
            ws.k[c, i] = ws.transposed[i * n + h] if i >= h else 0.0
    for i in range(n):
        size = abs(ws.w[i])
        om = np.hypot(size, kappa)
        more.om[i] = om
        more.low[i] = (kappa / om) * (kappa / (om + size))
        more.high[i] = 1.0 + size / om
    return error == 0


@callee
def jump_two_sided(shape: Shape, kappa: float, t: float, ws: Evolving, more: Riccati) -> bool:
    """Write M to `qqt` at a time, which may be infinite. Return False if LAPACK fails."""
    n, triangle = shape.n, ws.triangle
    for i in range(n):
        decay, low, high = np.exp(-more.om[i] * t), more.low[i], more.high[i]
        up, down = (low, high) if ws.w[i] > 0.0 else (high, low)
        inverse = 1.0 / (up + down * decay * decay)
        more.shrink[i] = 2.0 * decay * inverse
        more.saturation[i] = -np.expm1(-2.0 * more.om[i] * t) / more.om[i] * inverse
        ws.root[i] = np.sqrt(more.saturation[i])
    for h in range(n):
        for i in range(n):
            ws.qr_rows[h, i] = ws.root[i] * ws.k[h, i]
            ws.k_t[h, i] = more.shrink[i] * ws.k[h, i]
    gram_of_columns(n, n, ws.qr_rows, n, triangle)
    for h in range(n):
        triangle[h * (n + 1)] += 1.0
        more.diagonal[h] = triangle[h * (n + 1)]
    sound: bool = dpotrf(n, triangle, n) == 0
    cancelled = not sound
    for h in range(n):
        cancelled |= triangle[h * (n + 1)] ** 2 < LEAST_PIVOT * more.diagonal[h]
    if cancelled:
        triangle[:] = 0.0
        for h in range(n):
            triangle[h * (n + 1)] = 1.0
        sound = triangularise(n, n, triangle, ws.qr_rows, ws.scratch)
    divide(n, n, triangle, ws.k_t)
    gram_of_rows(n, n, ws.k_t, n, more.eigen_m.ravel())
    for i in range(n):
        more.eigen_m[i, i] += kappa * (kappa * more.saturation[i])
    _rotate_back(shape, ws, more.eigen_m, more.qqt)
    return sound


@callee
def _turn(cosine: float, sine: float, plus: float, minus: float) -> tuple[float, float]:
    """Return the components along v and u of those along the growing and the shrinking eigenvector."""
    return cosine * plus - sine * minus, sine * plus + cosine * minus


@callee
def _rotate_back(shape: Shape, ws: Evolving, x: Array, qqt: Array) -> None:
    """Write M = P X P^T, of lower triangles."""
    m, n, n_i = shape.m, shape.n, shape.n_i
    shift = first_beyond(shape) - m
    for a in range(m):
        cosine, sine = ws.cosine[a], ws.sine[a]
        for b in range(a + 1):
            # The plane of a turns first, then that of b.
            v_plus, u_plus = _turn(cosine, sine, x[a, b], x[n - 1 - a, b])
            below = x[n - 1 - b, a] if b < a else x[n - 1 - a, a]
            v_minus, u_minus = _turn(cosine, sine, below, x[n - 1 - b, n - 1 - a])
            qqt[a, b], qqt[n_i + b, a] = _turn(ws.cosine[b], ws.sine[b], v_plus, v_minus)
            qqt[n_i + a, b], qqt[n_i + a, n_i + b] = _turn(ws.cosine[b], ws.sine[b], u_plus, u_minus)
    for c in range(m, n - m):
        unit = c + shift
        for a in range(m):
            v, u = _turn(ws.cosine[a], ws.sine[a], x[c, a], x[n - 1 - a, c])
            qqt[unit, a] = v
            row, column = (unit, n_i + a) if unit >= n_i else (n_i + a, unit)
            qqt[row, column] = u
        for d in range(m, c + 1):
            qqt[unit, d + shift] = x[c, d]


@callee
def _block(first: int, last: int, now: Array, start: Array) -> tuple[float, float, float]:
    """Return trace and square of the block of M of one layer, and its product with that of the start."""
    trace, square, product = 0.0, 0.0, 0.0
    for i in range(first, last):
        entry, row, other = now[i, i], now[i, first:i], start[i, first:i]
        trace += entry
        square += entry * entry
        product += entry * start[i, i]
        if i > first:
            square += 2.0 * ddot(i - first, row, 1, row, 1)
            product += 2.0 * ddot(i - first, row, 1, other, 1)
    return trace, square, product


@callee
def two_sided_loss(shape: Shape, s: Array, floor: float, more: Riccati) -> float:
    """Return floor + |S - W2 W1|^2 / 2."""
    n_i, square = shape.n_i, 0.0
    product = more.product
    for o in range(shape.n_o):
        row = product[o * n_i : (o + 1) * n_i]
        for i in range(n_i):
            row[i] = more.qqt[n_i + o, i]
        if o < shape.m:
            row[o] -= s[o]
        square += ddot(n_i, row, 1, row, 1)
    return floor + 0.5 * square


@callee
def _effective_rank(shape: Shape, more: Riccati) -> float:
    n_i, n_o, unused = shape.n_i, shape.n_o, more.diagonal[:1]
    for o in range(n_o):
        for i in range(n_i):
            more.product[o * n_i + i] = more.qqt[n_i + o, i]
    error = dgesdd_n(
        n_i,
        n_o,
        more.product,
        n_i,
        more.values,
        unused,
        1,
        unused,
        1,
        more.scratch,
        more.scratch.size,
        more.integers,
    )
    return rank_of(more.values) if error == 0 else np.nan


@callee
def _root(trace: float) -> float:
    """Return the norm of a layer. Where it is nearly 0, rounding must not make its square negative."""
    return 0.0 if trace < 0.0 else float(np.sqrt(trace))


@callee
def observe_two_sided(
    shape: Shape, s: Array, floor: float, outputs: Integers, out: Array, index: int, more: Riccati
) -> bool:
    """Write the outputs of M to out[:, index], and return whether all are finite."""
    n_i, n_o, n = shape.n_i, shape.n_o, shape.n
    trace_i, square_i, product_i = _block(0, n_i, more.qqt, more.qqt_start)
    trace_o, square_o, product_o = _block(n_i, n, more.qqt, more.qqt_start)
    norm = np.sqrt(n_o * square_i + n_i * square_o + 2.0 * trace_i * trace_o)
    finite = True
    for place in range(outputs.size):
        output, value = outputs[place], 0.0
        if output == Output.LOSS:
            value = two_sided_loss(shape, s, floor, more)
        elif output == Output.KERNEL_DISTANCE:
            first_i, begun_i, _ = _block(0, n_i, more.qqt_start, more.qqt_start)
            first_o, begun_o, _ = _block(n_i, n, more.qqt_start, more.qqt_start)
            begun = np.sqrt(n_o * begun_i + n_i * begun_o + 2.0 * first_i * first_o)
            product = n_o * product_i + n_i * product_o + first_i * trace_o + first_o * trace_i
            cosine = product / (begun * norm)
            # Written so that NaN stays NaN.
            value = 0.0 if cosine > 1.0 else 1.0 - cosine
        elif output == Output.NTK_NORM:
            value = norm
        elif output == Output.W1_NORM:
            value = _root(trace_i)
        elif output == Output.W2_NORM:
            value = _root(trace_o)
        elif output == Output.EFFECTIVE_RANK:
            value = _effective_rank(shape, more)
        out[place, index] = value
        finite &= np.isfinite(value)
    return finite
