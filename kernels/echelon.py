"""Rotate the hidden space until the factor K is in lower echelon form, fastest direction first."""

import math

from fastlin.kernels.jit import Array, jit

EPSILON = 2.0**-52


@jit
def echelon(k: Array, w: Array, growth: Array) -> None:
    """Bring k (N, H, L) to lower echelon form by rotations of the hidden space, in place.

    Column h then starts at the row of the fastest direction that it alone can reach, and grows at most
    like the eigenvalue of that row: growth[h] = max(w, 0) there, (H, L). A row that the columns before
    it span already, to rounding, takes no column: this is what keeps a rank-deficient start (a saddle's
    inset) on its own rank instead of letting rounding errors escape.
    """
    n, width, lanes = k.shape
    tolerance = (8.0 * width * EPSILON) ** 2
    for lane in range(lanes):
        column = 0
        for i in range(n):
            if column == width:
                break
            total, rest = 0.0, 0.0
            for h in range(width):
                total += k[i, h, lane] ** 2
                if h >= column:
                    rest += k[i, h, lane] ** 2
            if rest <= tolerance * total:
                for h in range(column, width):
                    k[i, h, lane] = 0.0
                continue
            _reflect(k, i, column, math.sqrt(rest), lane)
            growth[column, lane] = max(w[i, lane], 0.0)
            column += 1
        for h in range(column, width):
            growth[h, lane] = 0.0


@jit
def _reflect(k: Array, row: int, column: int, norm: float, lane: int) -> None:
    """Householder reflection of the hidden space that clears k[row, column + 1 :]; rows above are done."""
    n, width, _ = k.shape
    pivot = k[row, column, lane]
    diagonal = -math.copysign(norm, pivot)
    head = pivot - diagonal
    scale = 1.0 / (norm * abs(head))
    for i in range(row + 1, n):
        along = head * k[i, column, lane]
        for h in range(column + 1, width):
            along += k[row, h, lane] * k[i, h, lane]
        along *= scale
        k[i, column, lane] -= along * head
        for h in range(column + 1, width):
            k[i, h, lane] -= along * k[row, h, lane]
    k[row, column, lane] = diagonal
    for h in range(column + 1, width):
        k[row, h, lane] = 0.0
