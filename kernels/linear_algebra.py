"""Small dense linear algebra for one matrix at a time."""

import math

from fastlin.kernels.jit import Array, jit

_SWEEPS = 30  # one-sided Jacobi converges quadratically; 6 to 8 sweeps are usual


@jit
def singular_values(a: Array, values: Array) -> None:
    """Write the singular values of a (rows, columns <= rows), unordered; a is overwritten.

    One-sided Jacobi (Hestenes): rotate pairs of columns until all are orthogonal. High relative accuracy
    also for the small ones, which an eigenvalue solver on a^T a would lose.
    """
    rows, columns = a.shape
    for _ in range(_SWEEPS):
        rotated = False
        for j in range(1, columns):
            for i in range(j):
                alpha, beta, gamma = 0.0, 0.0, 0.0
                for row in range(rows):
                    alpha += a[row, i] ** 2
                    beta += a[row, j] ** 2
                    gamma += a[row, i] * a[row, j]
                if abs(gamma) > 1e-15 * math.sqrt(alpha) * math.sqrt(beta):
                    rotated = True
                    zeta = (beta - alpha) / (2.0 * gamma)
                    tangent = math.copysign(1.0, zeta) / (abs(zeta) + math.hypot(1.0, zeta))
                    cosine = 1.0 / math.hypot(1.0, tangent)
                    for row in range(rows):
                        x, y = a[row, i], a[row, j]
                        a[row, i] = cosine * (x - tangent * y)
                        a[row, j] = cosine * (y + tangent * x)
        if not rotated:
            break
    for j in range(columns):
        total = 0.0
        for row in range(rows):
            total += a[row, j] ** 2
        values[j] = math.sqrt(total)
