"""The eigenvectors of F = [[-lam/2 I, Sigma^T], [Sigma, lam/2 I]], by formula from the SVD of Sigma.

Rows are ordered by falling eigenvalue, an order that no lam changes: +r_1 .. +r_m, then the
abs(N_o - N_i) directions outside the planes (+lam/2 for outputs, -lam/2 for inputs), then -r_m .. -r_1.
Legend: s (m, L), lam (L,), w (N, L), cosine and sine (m, L), q and k (N, H, L) with N = N_i + N_o.
"""

import math

from fastlin.kernels.jit import Array, jit


@jit
def eigen_system(s: Array, lam: Array, n_i: int, n_o: int, w: Array, cosine: Array, sine: Array) -> None:
    """Write the eigenvalues w and, for each singular value, the angle of the eigenvector of +r.

    ``r = hypot(s, lam/2)``, ``sin^2 a = (1 + lam/(2r)) / 2``; the smaller of sine and cosine comes from
    ``sin a cos a = s / (2r)``, without cancellation (Eq 7-8 with H = (lam/2) / (r + s)).
    """
    m, n = s.shape[0], w.shape[0]
    for lane in range(lam.size):
        half = 0.5 * lam[lane]
        for a in range(m):
            r = math.hypot(s[a, lane], half)
            w[a, lane] = r
            w[n - 1 - a, lane] = -r
            tilt = half / r if r > 0.0 else 0.0
            larger = math.sqrt(0.5 + 0.5 * abs(tilt))
            smaller = 0.5 * (s[a, lane] / r) / larger if r > 0.0 else larger
            sine[a, lane] = larger if half >= 0.0 else smaller
            cosine[a, lane] = smaller if half >= 0.0 else larger
        for a in range(m, n - m):
            w[a, lane] = half if n_o > n_i else -half


@jit
def to_eigenbasis(q: Array, cosine: Array, sine: Array, n_i: int, k: Array) -> None:
    """Write k = P^T q, from inputs and outputs in the SVD basis to eigen-directions of F."""
    n, width, lanes = q.shape
    m = cosine.shape[0]
    beyond = m if n_i > m else n_i + m
    for h in range(width):
        for a in range(m):
            for lane in range(lanes):
                along_v, along_u = q[a, h, lane], q[n_i + a, h, lane]
                k[a, h, lane] = cosine[a, lane] * along_v + sine[a, lane] * along_u
                k[n - 1 - a, h, lane] = cosine[a, lane] * along_u - sine[a, lane] * along_v
        for a in range(n - 2 * m):
            for lane in range(lanes):
                k[m + a, h, lane] = q[beyond + a, h, lane]


@jit
def from_eigenbasis(k: Array, cosine: Array, sine: Array, n_i: int, q: Array) -> None:
    """Write q = P k, the inverse of `to_eigenbasis`."""
    n, width, lanes = q.shape
    m = cosine.shape[0]
    beyond = m if n_i > m else n_i + m
    for h in range(width):
        for a in range(m):
            for lane in range(lanes):
                plus, minus = k[a, h, lane], k[n - 1 - a, h, lane]
                q[a, h, lane] = cosine[a, lane] * plus - sine[a, lane] * minus
                q[n_i + a, h, lane] = sine[a, lane] * plus + cosine[a, lane] * minus
        for a in range(n - 2 * m):
            for lane in range(lanes):
                q[beyond + a, h, lane] = k[m + a, h, lane]
