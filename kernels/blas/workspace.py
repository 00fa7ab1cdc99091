"""The memory for one large network, and its sizes as numbers.

All sizes are known only when the code runs, so that one compilation serves every network. A matrix of H
columns is an array (H, rows), whose columns are contiguous, as BLAS requires. N and H are the rows and the
columns of Q that matter, H <= `width`.
"""

from typing import NamedTuple

import numpy as np

from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.sizes import Sizes, greatest, least

# Columns that LAPACK works on together if its workspace allows it. OpenBLAS chooses no more.
_LAPACK_BLOCK = 64
# Largest ratio of rows to columns of a layer of which the Gram matrix of rows is formed (see `observables`).
TALLEST = 3


class Shape(NamedTuple):
    """The sizes of a network (see `Sizes`)."""

    n_i: int
    n_h: int
    n_o: int
    m: int
    k: int
    k_i: int
    k_o: int
    rows_i: int
    rows_o: int
    n: int
    width: int


def shape_of(sizes: Sizes) -> Shape:
    """Return the sizes as numbers."""
    return Shape(*(getattr(sizes, name) for name in Shape._fields))


class Evolving(NamedTuple):
    """The arrays of the exact solution."""

    w: Array  # (N,) eigenvalues of F, falling
    excess_rate: Array  # (N,) excess of positive eigenvalues over abs(lam) / 2
    cosine: Array  # (m,) of the angle of the eigenvector of +r
    sine: Array  # (m,)
    row_error: Array  # (N,) rounding errors of the rows of K
    k: Array  # (width, N) K(0) in echelon form, slowest direction first
    column_rate: Array  # (width,) growth rate of each column, an eigenvalue
    column_excess: Array  # (width,) excess of that eigenvalue
    k_t: Array  # (width, N) K(t)
    qr_rows: Array  # (width, N) sqrt(phi) K D, which is factored below D
    triangle: Array  # (width^2,) the factor of A
    transposed: Array  # (N width,) K^T
    pivots: Integers  # (width,) rows at which the columns begin
    angle: Array  # (width,) angular errors of the columns
    root: Array  # (N,) sqrt(phi) of a jump
    shrink: Array  # (N,) exp(min(w, 0) t)
    step_root: Array  # (N,) sqrt(phi) of a step of the march
    step_power: Array  # (N,) exp(w dt)
    tau: Array  # (N + width,) scales of reflections
    scratch: Array  # for LAPACK and `triangularise`


class Observing(NamedTuple):
    """The arrays for outputs of a network. Gram matrices are upper triangles with zeros below."""

    gram_i: Array  # of W1^T: of its rows or its columns, as `Plan` says
    gram_o: Array  # of W2
    start_i: Array  # the Gram matrices of the start
    start_o: Array
    drift: Array  # (width^2,) D(t) - D(0), or the Gram matrix of a step
    cross: Array  # (width^2,)
    product: Array  # (rows_i rows_o,) W2 W1 by columns
    first: Array  # (rows_i width,)
    second: Array  # (rows_o width,)
    values: Array  # (min(rows_i, rows_o),) singular values
    tau: Array  # (width,)
    scratch: Array  # for LAPACK
    integers: Integers  # for LAPACK


def evolving(sizes: Sizes) -> Evolving:
    """Return arrays for the exact solution of one network."""
    n, m, width = sizes.n, sizes.m, sizes.width

    def rows() -> Array:
        return np.empty(n)

    def columns() -> Array:
        return np.empty(width)

    def matrix() -> Array:
        return np.empty((width, n))

    return Evolving(
        w=rows(),
        excess_rate=rows(),
        cosine=np.empty(m),
        sine=np.empty(m),
        row_error=rows(),
        k=matrix(),
        column_rate=columns(),
        column_excess=columns(),
        k_t=matrix(),
        qr_rows=matrix(),
        triangle=np.empty(width * width),
        transposed=np.empty(n * width),
        pivots=np.empty(width, np.int64),
        angle=columns(),
        root=rows(),
        shrink=rows(),
        step_root=rows(),
        step_power=rows(),
        tau=np.empty(n + width),
        scratch=np.empty(_LAPACK_BLOCK * (n + width)),
    )


def observing(sizes: Sizes) -> Observing:
    """Return arrays for the outputs of one network."""
    rows_i, rows_o, width = sizes.rows_i, sizes.rows_o, sizes.width
    small, large = sorted((rows_i, rows_o))

    def gram(rows: int) -> Array:
        return np.empty(max(width, min(rows, TALLEST * width)) ** 2)

    return Observing(
        gram_i=gram(rows_i),
        gram_o=gram(rows_o),
        start_i=gram(rows_i),
        start_o=gram(rows_o),
        drift=np.empty(width * width),
        cross=np.empty(width * width),
        product=np.empty(rows_i * rows_o),
        first=np.empty(rows_i * width),
        second=np.empty(rows_o * width),
        values=np.empty(small),
        tau=np.empty(width),
        scratch=np.empty(10 * small + _LAPACK_BLOCK * (large + small + width)),
        integers=np.empty(8 * small, np.int64),
    )


def doubles(sizes: Sizes) -> int:
    """Return the number of doubles that the dynamics of one network need."""
    n, m, width, rows = sizes.n, sizes.m, sizes.width, (sizes.rows_i, sizes.rows_o)
    small, large = least(*rows), greatest(*rows)
    evolved = 8 * n + 2 * m + 4 * n * width + width * width + 5 * width
    evolved += _LAPACK_BLOCK * (n + width)
    grams = 2 * sum(greatest(width, least(count, TALLEST * width)) ** 2 for count in rows)
    observed = grams + 2 * width * width + small * large + n * width + 19 * small + width
    observed += _LAPACK_BLOCK * (large + small + width)
    return evolved + observed + 4 * n * width  # the last term is starts, and states of gradient descent
