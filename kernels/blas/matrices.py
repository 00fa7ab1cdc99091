"""Products and quotients of small matrices, each by the routine of BLAS that is fastest at its size.

Times were measured with OpenBLAS 0.3.30 on a Xeon with AVX-512. It has special kernels for products of small
general matrices (75 GFLOPS at 64 columns), but not for products of a matrix with itself and triangular
solves.
"""

import numpy as np

from fastlin.kernels.blas.routines import (
    ddot,
    dgemm_nn,
    dgemm_nt,
    dgemm_tn,
    dgemv_t,
    dger,
    dsyrk_n,
    dsyrk_t,
    dtrsm_right,
)
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.jit import Array

# Columns that `divide` solves for together. At (84, 64) a solve takes 17 us, and in one call 22.
_SOLVED_TOGETHER = 16
# Columns that `triangularise` reflects together. At (84, 64), blocks of 4, 8, 12 and 16 take 38, 36, 37 and
# 38 us.
BLOCK = 8
# One triangle of a Gram matrix is faster than the whole matrix from these sizes on.
_TRIANGLE_OF_COLUMNS = 40
_TRIANGLE_OF_ROWS = 80


@callee
def copy(count: int, source: Array, target: Array) -> None:
    """Copy numbers. Numba compiles error messages for an assignment of slices, which takes seconds."""
    for index in range(count):
        target[index] = source[index]


@callee
def divide(columns: int, n: int, triangle: Array, k: Array) -> None:
    """Turn K (N, H) into K R^-1, where R is an upper triangle (H, H)."""
    flat = k.ravel()
    for first in range(0, columns, _SOLVED_TOGETHER):
        count = min(_SOLVED_TOGETHER, columns - first)
        above, part = triangle[first * columns :], flat[first * n :]
        if first > 0:
            dgemm_nn(n, count, first, -1.0, k, n, above, columns, 1.0, part, n)
        dtrsm_right(n, count, 1.0, above[first:], columns, part, n)


@callee
def _reflect_panel(
    columns: int, n: int, first: int, last: int, triangle: Array, below: Array, tops: Array, scratch: Array
) -> bool:
    """Reflect columns first..last-1 one after the other, and only these; return False if one is 0.

    The reflection of column j is I - v v^T / (norm top). v has `top` in the row of its diagonal, and its
    other entries are in `below`. `tops` (last - first,) is written.
    """
    sound = True
    for j in range(first, last):
        column, scale = below[j * n :], triangle[j * (columns + 1)]
        norm = np.sqrt(scale * scale + ddot(n, column, 1, column, 1))
        top, left = scale + norm, last - 1 - j  # scale >= 0, so adding the norm to it does not cancel
        triangle[j * (columns + 1)], tops[j - first] = -norm, top
        sound &= norm > 0.0
        if left > 0:
            rest = below[(j + 1) * n :]
            dgemv_t(n, left, 1.0 / (norm * top), rest, n, column, 1, 0.0, scratch, 1)
            dger(n, left, -1.0, column, 1, scratch, 1, rest, n)
            for h in range(left):
                triangle[(j + 1 + h) * columns + j] = -scratch[h] * top
    return sound


@callee
def _invert_triangle(size: int, scales: Array, triangle: Array) -> None:
    """Turn a Gram matrix of reflections into the upper triangle T of their product I - V T V^T, with 0 below.

    T^-1 has the Gram matrix above its diagonal, and 1 / `scales` on it (Schreiber and Van Loan 1989, "A
    storage-efficient WY representation for products of Householder transformations").
    """
    for j in range(size):
        for i in range(j):
            total = 0.0
            for g in range(i, j):
                total += triangle[g * size + i] * triangle[j * size + g]
            triangle[j * size + i] = -scales[j] * total
        triangle[j * size + j] = scales[j]
        for i in range(j + 1, size):
            triangle[j * size + i] = 0.0


@callee
def triangularise(columns: int, n: int, triangle: Array, below: Array, scratch: Array) -> bool:
    """Turn a diagonal matrix >= 0 (H, H) into the triangle R of [diagonal; below] = Q R; return False if bad.

    `below` (H, N) is overwritten. scratch (2 BLOCK (1 + BLOCK + H),). Reflections of `BLOCK` columns are
    applied together to the columns after them. LAPACK's dtpqrt does the same in calls so small that two
    threads wait for the memory of OpenBLAS. At (84, 64) it takes 47 us, and two threads are 1.3 times as
    fast. This function takes 36 us, and two threads are 1.75 times as fast.
    """
    flat, sound = below.ravel(), True
    tops, scales = scratch[:BLOCK], scratch[BLOCK : 2 * BLOCK]
    inverse, products = scratch[2 * BLOCK : (2 + BLOCK) * BLOCK], scratch[(2 + BLOCK) * BLOCK :]
    scaled = products[BLOCK * columns :]
    for first in range(0, columns, BLOCK):
        last = min(first + BLOCK, columns)
        sound &= _reflect_panel(columns, n, first, last, triangle, flat, tops, products)
        count, left = last - first, columns - last
        if left == 0:
            break
        panel, rest = flat[first * n :], flat[last * n :]
        for j in range(count):
            scales[j] = -1.0 / (triangle[(first + j) * (columns + 1)] * tops[j])
        dgemm_tn(count, count, n, 1.0, panel, n, panel, n, 0.0, inverse, count)
        _invert_triangle(count, scales, inverse)
        dgemm_tn(count, left, n, 1.0, panel, n, rest, n, 0.0, products, count)
        dgemm_tn(count, left, count, 1.0, inverse, count, products, count, 0.0, scaled, count)
        dgemm_nn(n, left, count, -1.0, panel, n, scaled, count, 1.0, rest, n)
        for h in range(left):
            for j in range(count):
                triangle[(last + h) * columns + first + j] = -scaled[h * count + j] * tops[j]
    return sound


@callee
def gram_of_columns(columns: int, rows: int, x: Array, n: int, out: Array) -> None:
    """Write X^T X (H, H) of X (rows, H) with leading dimension n, at least its upper triangle."""
    if columns < _TRIANGLE_OF_COLUMNS:
        dgemm_tn(columns, columns, rows, 1.0, x, n, x, n, 0.0, out, columns)
    else:
        dsyrk_t(columns, rows, 1.0, x, n, 0.0, out, columns)


@callee
def gram_of_rows(columns: int, rows: int, x: Array, n: int, out: Array) -> None:
    """Write X X^T (rows, rows) of X (rows, H) with leading dimension n, at least its upper triangle."""
    if rows < _TRIANGLE_OF_ROWS:
        dgemm_nt(rows, rows, columns, 1.0, x, n, x, n, 0.0, out, rows)
    else:
        dsyrk_n(rows, columns, 1.0, x, n, 0.0, out, rows)


@callee
def has_whole_gram(size: int, by_columns: bool) -> bool:
    """Return whether `gram_of_columns` or `gram_of_rows` writes both triangles."""
    return size < (_TRIANGLE_OF_COLUMNS if by_columns else _TRIANGLE_OF_ROWS)


@callee
def symmetric_product(size: int, whole: bool, one: Array, other: Array) -> float:
    """Return <A, B> of two symmetric matrices, which are whole, or upper triangles with zeros below."""
    product: float = ddot(size * size, one, 1, other, 1)
    if whole:
        return product
    diagonal = 0.0
    for h in range(size):
        diagonal += one[h * (size + 1)] * other[h * (size + 1)]
    return 2.0 * product - diagonal


@callee
def is_finite(values: Array) -> bool:
    """Return whether a contiguous array is finite."""
    total = 0.0
    for value in values.ravel():
        total += value * 0.0
    return total == 0.0
