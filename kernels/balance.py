"""Algorithm 1: the lam-balanced factorisation of a product of weights."""

import math

from fastlin.kernels.jit import Array, jit


@jit
def balanced_scales(p: float, lam: float) -> tuple[float, float]:
    """Return (s1, s2) with s1 s2 = p and s2^2 - s1^2 = lam.

    Algorithm 1, with lam moved out of the inner root: ``s2^2 = (sqrt(lam^2 + 4 p^2) + lam) / 2``. The
    larger of the two has no cancellation; the smaller follows from the product. At p = 0 one of them is
    sqrt(abs(lam)), which is what the wider layer carries past min(N_i, N_o).
    """
    larger = math.sqrt(0.5 * math.hypot(lam, 2.0 * p) + 0.5 * abs(lam))
    smaller = p / larger if larger > 0.0 else 0.0
    return (smaller, larger) if lam >= 0.0 else (larger, smaller)


@jit
def balanced_start(u: Array, p: Array, v: Array, lam: Array, q: Array) -> None:
    """Write Q(0) of every lam in the SVD basis of the task.

    u (N_o, k_o), p (k,), v (N_i, k_i), lam (L,); writes q (N_i + N_o, max(k_i, k_o), L).
    """
    n_i, n_o = v.shape[0], u.shape[0]
    q[...] = 0.0
    for h in range(q.shape[1]):
        product = p[h] if h < p.size else 0.0
        for lane in range(lam.size):
            s1, s2 = balanced_scales(product, lam[lane])
            if h < v.shape[1]:
                for i in range(n_i):
                    q[i, h, lane] = s1 * v[i, h]
            if h < u.shape[1]:
                for o in range(n_o):
                    q[n_i + o, h, lane] = s2 * u[o, h]
