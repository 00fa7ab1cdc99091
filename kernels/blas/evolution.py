"""The exact solution of one network: the algorithms of `vector/` (`echelon`, `evolution`, `march`) on LAPACK.

Columns of K are ordered slowest direction first, the reverse of `echelon`. The lower triangles of `evolution`
then become upper triangles, which LAPACK's factorisations use. `q` and `k` are arrays (H, N). Their rows are
the columns of the matrix.
"""

import numpy as np

from fastlin.kernels.blas.matrices import divide, gram_of_columns, triangularise
from fastlin.kernels.blas.routines import dgemv_t, dgeqrf, dger, dpotrf
from fastlin.kernels.blas.workspace import Evolving, Shape
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.tolerances import LONGEST_STEP, MAX_ANGLE, ROUNDING, TIE


@callee
def write_eigen_system(shape: Shape, lam: float, s: Array, ws: Evolving) -> None:
    """Write the eigenvalues of F and the angles of its eigenvectors (see `eigenbasis`)."""
    half, n, m = 0.5 * lam, shape.n, shape.m
    outside = half if shape.n_o > shape.n_i else -half
    for a in range(m, n - m):
        ws.w[a], ws.excess_rate[a] = outside, 0.0
    for a in range(m):
        r = np.hypot(s[a], half)
        scale = 0.5 / r if r > 0.0 else 0.5
        larger = np.sqrt(0.5 + abs(half) * scale)
        smaller = s[a] * scale / larger if r > 0.0 else larger
        ws.cosine[a], ws.sine[a] = (smaller, larger) if half >= 0.0 else (larger, smaller)
        ws.w[a], ws.w[n - 1 - a] = r, -r
        ws.excess_rate[a] = s[a] * (s[a] / (r + abs(half) if r > 0.0 else 1.0))
        ws.excess_rate[n - 1 - a] = 0.0


@callee
def first_beyond(shape: Shape) -> int:
    """Return the row of Q of the first eigen-direction outside the planes."""
    return shape.m + (0 if shape.n_i > shape.n_o else shape.rows_i)


@callee
def rotate_into(shape: Shape, q: Array, k: Array, ws: Evolving) -> None:
    """Write K = P^T Q."""
    m, n, rows_i, beyond = shape.m, shape.n, shape.rows_i, first_beyond(shape)
    for h in range(len(q)):
        for a in range(m):
            k[h, a] = ws.cosine[a] * q[h, a] + ws.sine[a] * q[h, rows_i + a]
            k[h, n - 1 - a] = ws.cosine[a] * q[h, rows_i + a] - ws.sine[a] * q[h, a]
        for a in range(n - 2 * m):
            k[h, m + a] = q[h, beyond + a]


@callee
def rotate_back(shape: Shape, k: Array, q: Array, ws: Evolving) -> None:
    """Write Q = P K."""
    m, n, rows_i, beyond = shape.m, shape.n, shape.rows_i, first_beyond(shape)
    for h in range(len(k)):
        for a in range(m):
            q[h, a] = ws.cosine[a] * k[h, a] - ws.sine[a] * k[h, n - 1 - a]
            q[h, rows_i + a] = ws.sine[a] * k[h, a] + ws.cosine[a] * k[h, n - 1 - a]
        for a in range(n - 2 * m):
            q[h, beyond + a] = k[h, m + a]


@callee
def _write_row_error(shape: Shape, k: Array, row_error: Array) -> None:
    """Write the rounding errors of the rows of K: those of the rotated planes."""
    n = shape.n
    row_error[:] = 0.0
    for h in range(len(k)):
        for i in range(n):
            row_error[i] += k[h, i] * k[h, i]
    for a in range(shape.m):
        row_error[a] += row_error[n - 1 - a]
        row_error[n - 1 - a] = row_error[a]
    for i in range(n):
        row_error[i] = ROUNDING * np.sqrt(row_error[i])


@callee
def transpose(k: Array, transposed: Array) -> None:
    """Write a matrix (N, H) row by row."""
    columns, n = k.shape
    for h in range(columns):
        for i in range(n):
            transposed[i * columns + h] = k[h, i]


@callee
def _echelon(shape: Shape, k: Array, ws: Evolving) -> int:
    """Write K in lower echelon form without columns that are 0, and return their number. See `echelon`."""
    columns, n = k.shape
    count: int = min(columns, n)
    rows = ws.transposed
    _write_row_error(shape, k, ws.row_error)
    transpose(k, rows)
    clear = dgeqrf(columns, n, rows, columns, ws.tau, ws.scratch, ws.scratch.size) == 0
    for i in range(count):
        before = 0.0
        for h in range(i):
            before += abs(rows[i * columns + h])
        # No angle is above MAX_ANGLE, so this condition is at least as strict as that of `echelon`.
        clear &= abs(rows[i * columns + i]) > ws.row_error[i] + MAX_ANGLE * before
        ws.pivots[i] = i
    if not clear:
        transpose(k, rows)
        count = _echelon_by_rows(columns, n, rows, ws)
    for c in range(count):
        h = count - 1 - c
        pivot = ws.pivots[h]
        ws.column_rate[c], ws.column_excess[c] = max(ws.w[pivot], 0.0), ws.excess_rate[pivot]
        for i in range(n):
            # LAPACK keeps its reflections above the diagonal.
            ws.k[c, i] = rows[i * columns + h] if i >= h else 0.0
    return count


@callee
def _echelon_by_rows(columns: int, n: int, rows: Array, ws: Evolving) -> int:
    """Bring any K, given by its rows, to echelon form. A row that the columns so far span takes none."""
    h = 0
    ws.pivots[:] = n - 1
    for i in range(n):
        if h == columns:
            break
        row = rows[i * columns : (i + 1) * columns]
        uncertain, square = ws.row_error[i], 0.0
        for g in range(h):
            uncertain += abs(row[g]) * ws.angle[g]
        free = ws.tau[: columns - h]
        for g in range(h, columns):
            free[g - h] = row[g]
            square += row[g] * row[g]
            row[g] = 0.0
        norm = np.sqrt(square)
        if not norm > uncertain:
            continue
        row[h] = -norm if free[0] >= 0.0 else norm
        scale = 1.0 / (norm * (abs(free[0]) + norm))
        free[0] -= row[h]
        left, below = n - 1 - i, rows[(i + 1) * columns + h :] if i + 1 < n else rows[:0]
        if left > 0:
            along = ws.scratch[:left]
            dgemv_t(free.size, left, scale, below, columns, free, 1, 0.0, along, 1)
            dger(free.size, left, -1.0, free, 1, along, 1, below, columns)
        ws.angle[h], ws.pivots[h] = min(uncertain / norm, MAX_ANGLE), i
        h += 1
    return max(h, 1)


@callee
def begin(shape: Shape, lam: float, shrinkage: float, s: Array, q: Array, ws: Evolving) -> int:
    """Bring a start q (H, N) to K in echelon form, and return its columns.

    `shrinkage` is weight decay, which shifts the eigenvalues at lam = 0.
    """
    write_eigen_system(shape, lam, s, ws)
    for i in range(shape.n):
        ws.w[i] -= shrinkage
    k = ws.k_t[: len(q)]
    rotate_into(shape, q, k, ws)
    return _echelon(shape, k, ws)


@callee
def jump(shape: Shape, count: int, t: float, ws: Evolving) -> bool:
    """Write K(t) from the start, by a QR decomposition of [D; sqrt(phi) K D]. Return False if it fails."""
    n, limit = shape.n, np.isinf(t)
    tie = n * TIE * ws.excess_rate[0]
    for i in range(n):
        rate = abs(ws.w[i])
        twice = 2.0 * rate
        if rate == 0.0:
            # A direction with w = 0 decays like 1/sqrt(t). Its limit is 0.
            ws.root[i] = 1.0 if limit else np.sqrt(t)
        elif limit:
            ws.root[i] = np.sqrt(1.0 / twice)
        else:
            ws.root[i] = np.sqrt(-np.expm1(-t * twice) / twice)
        if ws.w[i] > 0.0:
            ws.shrink[i] = 1.0
        else:
            ws.shrink[i] = 0.0 if limit else np.exp(t * ws.w[i])
    growing = n - shape.m if ws.w[shape.m] > 0.0 and n > 2 * shape.m else shape.m
    if ws.w[shape.m - 1] <= 0.0:
        growing = 0
        while ws.w[growing] > 0.0:
            growing += 1
    triangle = ws.triangle[: count * count]
    triangle[:] = 0.0
    for h in range(count):
        rate, excess = ws.column_rate[h], ws.column_excess[h]
        # Rates within `tie` of 0 are 0 at t = inf, because the SVD cannot distinguish them.
        scale = (1.0 if rate <= tie else 0.0) if limit else np.exp(-t * rate)
        triangle[h * count + h] = scale
        k, k_t, qr_rows = ws.k[h], ws.k_t[h], ws.qr_rows[h]
        last, relative = 2.0, 0.0
        for i in range(growing):
            behind = min(ws.excess_rate[i] - excess, 0.0)
            if behind != last:
                last = behind
                relative = (1.0 if behind >= -tie else 0.0) if limit else np.exp(behind * t)
            k_t[i] = k[i] * relative
            qr_rows[i] = ws.root[i] * k_t[i]
        for i in range(growing, n):
            value = k[i] * scale
            qr_rows[i] = ws.root[i] * value
            k_t[i] = ws.shrink[i] * value
    sound = triangularise(count, n, triangle, ws.qr_rows, ws.scratch)
    divide(count, n, triangle, ws.k_t)
    return sound


@callee
def prepare_march(shape: Shape, dt: float, ws: Evolving) -> bool:
    """Write the factors that all steps of a grid share. Return whether they are short enough for Cholesky."""
    if not 2.0 * ws.w[0] * dt <= LONGEST_STEP:
        return False
    for i in range(shape.n):
        w = ws.w[i]
        phi = np.expm1(2.0 * w * dt) / (2.0 * w) if w != 0.0 else dt
        ws.step_power[i], ws.step_root[i] = np.exp(w * dt), np.sqrt(phi)
    return True


@callee
def march(shape: Shape, count: int, ws: Evolving) -> bool:
    """Take K(t) to the next time of the grid, by a Cholesky decomposition, and return False if it fails."""
    n, triangle = shape.n, ws.triangle[: count * count]
    for h in range(count):
        k_t, qr_rows = ws.k_t[h], ws.qr_rows[h]
        for i in range(n):
            qr_rows[i] = ws.step_root[i] * k_t[i]
            k_t[i] *= ws.step_power[i]
    gram_of_columns(count, n, ws.qr_rows, n, triangle)
    for h in range(count):
        triangle[h * count + h] += 1.0
    error: int = dpotrf(count, triangle, count)
    divide(count, n, triangle, ws.k_t)
    return error == 0


@callee
def squared_rows(count: int, rows: int, k: Array, out: Array) -> None:
    """Write the squared norms of the first rows of K."""
    out[:rows] = 0.0
    for h in range(count):
        for i in range(rows):
            out[i] += k[h, i] * k[h, i]
