"""Rotate the hidden space until the factor K is in lower echelon form, fastest direction first."""

import math

import numpy as np

from fastlin.kernels.jit import Array, jit

EPSILON = 2.0**-52
# A rotation of a plane and a reflection err by a few units in the last place of the plane's norm.
ROUNDING = 8.0 * EPSILON
# Noise of a pivot that is worse than this tells nothing about the rows below it.
MAX_ANGLE = 1e-6


@jit
def echelon(k: Array, w: Array, m: int, growth: Array) -> None:
    """Bring k (N, H, L) to lower echelon form by rotations of the hidden space, in place.

    Column h then starts at the row of the fastest direction that it alone can reach, and grows at most
    like the eigenvalue of that row: growth[h] = max(w, 0) there, (H, L). A row that the columns before
    it span already, to rounding, takes no column. Such starts are common (half of all with lam = 0 and
    N_i = N_o <= N_h lie on the inset of a saddle, as the sign of det W2 W1 is conserved), and without
    this rule rounding errors would grow like exp(wt) and leave the saddle.
    """
    n, width, lanes = k.shape
    angle = np.empty(width)
    for lane in range(lanes):
        column = 0
        for i in range(n):
            if column == width:
                break
            rest = _square(k, i, column, lane)
            noise = ROUNDING * _plane_norm(k, i, m, lane)
            for h in range(column):  # a pivot that is uncertain by an angle turns what lies along it
                noise += abs(k[i, h, lane]) * angle[h]
            if rest <= noise * noise:
                for h in range(column, width):
                    k[i, h, lane] = 0.0
                continue
            norm = math.sqrt(rest)
            _reflect(k, i, column, norm, lane)
            growth[column, lane] = max(w[i, lane], 0.0)
            angle[column] = min(noise / norm, MAX_ANGLE)
            column += 1
        for h in range(column, width):
            growth[h, lane] = 0.0


@jit
def _square(k: Array, row: int, first: int, lane: int) -> float:
    """Squared norm of k[row, first:]."""
    total = 0.0
    for h in range(first, k.shape[1]):
        total += k[row, h, lane] ** 2
    return total


@jit
def _plane_norm(k: Array, row: int, m: int, lane: int) -> float:
    """Norm of the rows +r and -r of a plane, which were rotated out of each other; or of one row."""
    total = _square(k, row, 0, lane)
    if row < m or row >= k.shape[0] - m:
        total += _square(k, k.shape[0] - 1 - row, 0, lane)
    return math.sqrt(total)


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
