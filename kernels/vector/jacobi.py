"""Singular value decompositions of small matrices, eight at a time, by one-sided Jacobi (Hestenes 1958)."""

from __future__ import annotations

from fastlin.kernels.compiler.arithmetic import absolute, fma, select, sqrt
from fastlin.kernels.compiler.protocols import Array, Code, Variable, Whole
from fastlin.kernels.tolerances import MAX_SWEEPS, ORTHOGONAL


def orthogonalise(code: Code, a: Array, v: Array | None = None) -> None:
    """Rotate pairs of columns of a (rows, columns <= rows) until all are orthogonal: a <- a V, v <- v V.

    Small singular values keep a high relative accuracy, which an eigenvalue solver on a^T a would lose.
    """
    columns = a.shape[1]
    turning = code.variable(1.0)
    for _ in code.loop(0, MAX_SWEEPS):
        with code.when(turning.value > 0.0):
            turning.value = 0.0
            for j in code.loop(1, columns):
                for i in code.loop(0, j):
                    _rotate(code, a, v, i, j, turning)


def _rotate(code: Code, a: Array, v: Array | None, i: Whole, j: Whole, turning: Variable) -> None:
    """Make columns i and j orthogonal in the lanes where they are not."""
    alpha, beta, gamma = (code.variable(0.0) for _ in range(3))
    for row in code.loop(0, a.shape[0]):
        x, y = a[row, i], a[row, j]
        alpha.value = fma(x, x, alpha.value)
        beta.value = fma(y, y, beta.value)
        gamma.value = fma(x, y, gamma.value)
    turn = absolute(gamma.value) > ORTHOGONAL * sqrt(alpha.value) * sqrt(beta.value)
    with code.when(turn):
        turning.value = select(turn, 1.0, turning.value)
        zeta = (beta.value - alpha.value) / select(turn, 2.0 * gamma.value, 1.0)
        size = 1.0 / (absolute(zeta) + sqrt(fma(zeta, zeta, 1.0)))
        tangent = select(turn, select(zeta < 0.0, -size, size), 0.0)
        cosine = 1.0 / sqrt(fma(tangent, tangent, 1.0))
        sine = cosine * tangent
        for matrix in (a, v) if v is not None else (a,):
            for row in code.loop(0, matrix.shape[0]):
                x, y = matrix[row, i], matrix[row, j]
                matrix[row, i] = fma(cosine, x, -(sine * y))
                matrix[row, j] = fma(sine, x, cosine * y)


def column_norms(code: Code, a: Array, norms: Array) -> None:
    """Write the norms of the columns of a. If the columns are orthogonal, these are its singular values."""
    for j in code.loop(0, a.shape[1]):
        total = code.variable(0.0)
        for row in code.loop(0, a.shape[0]):
            total.value = fma(a[row, j], a[row, j], total.value)
        norms[j] = sqrt(total.value)


def svd(code: Code, a: Array, v: Array, values: Array) -> None:
    """Decompose a (rows, columns <= rows). a becomes the left vectors, v (columns, columns) the right ones.

    values (columns,) fall. The left vector of a singular value 0 is 0.
    """
    columns = a.shape[1]
    for i in code.loop(0, columns):
        for j in code.loop(0, columns):
            v[i, j] = 0.0
        v[i, i] = 1.0
    orthogonalise(code, a, v)
    column_norms(code, a, values)
    for i in code.loop(0, columns):
        for j in code.loop(i + 1, columns):
            _order(code, a, v, values, i, j)
    for j in code.loop(0, columns):
        scale = 1.0 / select(values[j] > 0.0, values[j], 1.0)
        for row in code.loop(0, a.shape[0]):
            a[row, j] = scale * a[row, j]


def _order(code: Code, a: Array, v: Array, values: Array, i: Whole, j: Whole) -> None:
    """Swap columns i and j where the later one has the larger value."""
    larger = values[j] > values[i]
    with code.when(larger):
        first, second = values[i], values[j]
        values[i], values[j] = select(larger, second, first), select(larger, first, second)
        for matrix in (a, v):
            for row in code.loop(0, matrix.shape[0]):
                x, y = matrix[row, i], matrix[row, j]
                matrix[row, i] = select(larger, y, x)
                matrix[row, j] = select(larger, x, y)
