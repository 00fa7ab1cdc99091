"""Starts of large networks: Q(0) from the `Record` of a problem."""

import numpy as np

from fastlin.kernels.blas.workspace import Shape
from fastlin.kernels.codes import Start
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.jit import Array


@callee
def _write_column(q: Array, count: int, first: int, rows: int, scale: float, vectors: Array, at: int) -> bool:
    """Write scale * (one column of vectors) to rows of a column of q, and return whether it is 0."""
    nothing = True
    for i in range(rows):
        value = scale * vectors[i, at]
        q[count, first + i] = value
        nothing &= value == 0.0
    return nothing


@callee
def write_start(shape: Shape, record: Array, lam: float, q: Array) -> int:
    """Write Q(0) (H, N) of a `Record` without the columns that are 0, and return H, at least 1."""
    m, k, k_i, k_o, rows_i, rows_o = shape.m, shape.k, shape.k_i, shape.k_o, shape.rows_i, shape.rows_o
    first = m + k + 1
    v = record[first : first + rows_i * k_i].reshape(rows_i, k_i)
    u = record[first + rows_i * k_i : first + rows_i * k_i + rows_o * k_o].reshape(rows_o, k_o)
    count = 0
    for h in range(shape.width):
        p = record[m + h] if h < k else 0.0
        # Algorithm 1 (see `balanced_scales`).
        larger = np.sqrt(0.5 * np.hypot(lam, 2.0 * p) + 0.5 * abs(lam))
        smaller = p / larger if larger > 0.0 else p
        s1, s2 = (smaller, larger) if lam >= 0.0 else (larger, smaller)
        q[count] = 0.0
        nothing = True
        if h < k_i:
            nothing &= _write_column(q, count, 0, rows_i, s1, v, h)
        if h < k_o:
            nothing &= _write_column(q, count, rows_i, rows_o, s2, u, h)
        if not nothing:
            count += 1
    return max(count, 1)


@callee
def _write_raw_start(shape: Shape, record: Array, q: Array) -> None:
    """Write the start (H, N) that the record itself holds."""
    first = shape.m + shape.k + 1
    for row in range(shape.n):
        for h in range(shape.width):
            q[h, row] = record[first + row * shape.width + h]


@callee
def write_two_sided_start(shape: Shape, record: Array, lam: float, kappa: float, q: Array) -> None:
    """Write the start (N, N) with two-sided balance (see `vector.balance.two_sided_start`)."""
    m, n_i, n_o = shape.m, shape.n_i, shape.n_o
    first, half = 2 * m + 1, 0.5 * abs(lam)
    v = record[first : first + n_i * n_i].reshape(n_i, n_i)
    u = record[first + n_i * n_i : first + n_i * n_i + n_o * n_o].reshape(n_o, n_o)
    q[:] = 0.0
    for a in range(max(n_i, n_o)):
        p = record[m + a] if a < m else 0.0
        larger = np.sqrt(np.hypot(np.hypot(p, half), kappa) + half)
        share, rest = p / larger, kappa / larger
        s1, s2 = (share, larger) if lam >= 0.0 else (larger, share)
        if a < m:
            _write_column(q, a, 0, n_i, s1, v, a)
            _write_column(q, a, n_i, n_o, s2, u, a)
            if lam >= 0.0:
                _write_column(q, m + a, 0, n_i, rest, v, a)
            else:
                _write_column(q, m + a, n_i, n_o, rest, u, a)
        elif n_i > n_o:
            _write_column(q, m + a, 0, n_i, rest if lam >= 0.0 else larger, v, a)
        else:
            _write_column(q, m + a, n_i, n_o, larger if lam >= 0.0 else rest, u, a)


@callee
def write_start_of_kind(
    shape: Shape, start: int, record: Array, lam: float, kappa: float, q: Array
) -> tuple[float, int]:
    """Write Q(0) (H, N) of a point, and return the least loss of a linear map and H."""
    if start == Start.RAW:
        _write_raw_start(shape, record, q)
        return record[shape.m + shape.k], shape.width
    if start == Start.TWO_SIDED:
        write_two_sided_start(shape, record, lam, kappa, q)
        return record[2 * shape.m], shape.width
    return record[shape.m + shape.k], write_start(shape, record, lam, q)
