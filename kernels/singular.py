"""Singular value decompositions of small matrices, eight at a time, by one-sided Jacobi (Hestenes 1958)."""

from typing import Any

from fastlin.kernels.lanes import absolute, fma, select, sqrt

# Columns are orthogonal when their cosine is below this; convergence is quadratic, 6 to 9 sweeps are usual.
_ORTHOGONAL = 1e-15
_SWEEPS = 30


def orthogonalise(code: Any, a: Any, v: Any = None) -> None:
    """Rotate pairs of columns of a (rows, columns <= rows) until all are orthogonal: a <- a V, v <- v V.

    High relative accuracy also for the small singular values, which an eigenvalue solver on a^T a would
    lose.
    """
    columns = a.shape[1]
    turning = code.variable(1.0)
    for _ in code.loop(0, _SWEEPS):
        for _ in code.when(turning.now > 0.0):
            turning.now = 0.0
            for j in code.loop(1, columns):
                for i in code.loop(0, j):
                    _rotate(code, a, v, i, j, turning)


def _rotate(code: Any, a: Any, v: Any, i: Any, j: Any, turning: Any) -> None:
    """Make columns i and j orthogonal, where they are not."""
    alpha, beta, gamma = (code.variable(0.0) for _ in range(3))
    for row in code.loop(0, a.shape[0]):
        x, y = a[row, i], a[row, j]
        alpha.now = fma(x, x, alpha.now)
        beta.now = fma(y, y, beta.now)
        gamma.now = fma(x, y, gamma.now)
    turn = absolute(gamma.now) > _ORTHOGONAL * sqrt(alpha.now) * sqrt(beta.now)
    for _ in code.when(turn):
        turning.now = select(turn, 1.0, turning.now)
        zeta = (beta.now - alpha.now) / select(turn, 2.0 * gamma.now, 1.0)
        size = 1.0 / (absolute(zeta) + sqrt(fma(zeta, zeta, 1.0)))
        tangent = select(turn, select(zeta < 0.0, -size, size), 0.0)
        cosine = 1.0 / sqrt(fma(tangent, tangent, 1.0))
        sine = cosine * tangent
        for matrix in (a, v) if v is not None else (a,):
            for row in code.loop(0, matrix.shape[0]):
                x, y = matrix[row, i], matrix[row, j]
                matrix[row, i] = fma(cosine, x, -(sine * y))
                matrix[row, j] = fma(sine, x, cosine * y)


def column_norms(code: Any, a: Any, norms: Any) -> None:
    """Write the norms of the columns of a: its singular values, once they are orthogonal."""
    for j in code.loop(0, a.shape[1]):
        total = code.variable(0.0)
        for row in code.loop(0, a.shape[0]):
            total.now = fma(a[row, j], a[row, j], total.now)
        norms[j] = sqrt(total.now)


def svd(code: Any, a: Any, v: Any, values: Any) -> None:
    """Decompose a (rows, columns <= rows): a becomes the left vectors, v (columns, columns) the right ones.

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


def _order(code: Any, a: Any, v: Any, values: Any, i: Any, j: Any) -> None:
    """Swap columns i and j where the later one has the larger value."""
    larger = values[j] > values[i]
    for _ in code.when(larger):
        first, second = values[i], values[j]
        values[i], values[j] = select(larger, second, first), select(larger, first, second)
        for matrix in (a, v):
            for row in code.loop(0, matrix.shape[0]):
                x, y = matrix[row, i], matrix[row, j]
                matrix[row, i] = select(larger, y, x)
                matrix[row, j] = select(larger, x, y)
