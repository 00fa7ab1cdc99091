"""Starts Q(0) of many points from the records of their problems, on NumPy.

Numbers of the start alone, such as the fit of its balance, are made of it. Compiled kernels write the same
starts in their own memory (`vector.balance`, `blas.starts`).
"""

import numpy as np

from fastlin.kernels.codes import Start
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.sizes import Record, Sizes
from fastlin.kernels.vector.balance import balanced_scales


def starts(sizes: Sizes, records: Array, lams: Array, start: Start, kappa: float) -> Array:
    """Return Q(0) (S, L, n, columns) of all points (seed, lam), in the SVD basis of the task.

    Parameters
    ----------
    sizes : Sizes
        The architecture.
    records : ndarray, (S, length)
        `Record` of each seed: that of ``sizes.unreduced`` for raw starts.
    lams : ndarray, (L,)
        Raw starts have one entry, which is not used.
    start : Start
        The kind of start that the records hold.
    kappa : float
        Above 0 for two-sided starts.
    """
    used = sizes.unreduced if start == Start.RAW else sizes
    at = Record(used)
    v = records[:, at.v : at.u].reshape(-1, 1, used.rows_i, used.k_i)
    u = records[:, at.u :].reshape(-1, 1, used.rows_o, used.k_o)
    if start == Start.RAW:
        return np.concatenate([v, u], axis=-2)
    p = records[:, None, at.p : at.p + used.k]
    if start == Start.TWO_SIDED:
        return _two_sided(u, p, v, lams[:, None], kappa)
    strengths = np.concatenate([p, np.zeros((*p.shape[:2], used.width - used.k))], axis=-1)
    s1, s2 = balanced_scales(strengths, lams[:, None])
    q = np.zeros((*s1.shape[:2], used.n, used.width))
    q[..., : used.rows_i, : used.k_i] = v * s1[..., None, : used.k_i]
    q[..., used.rows_i :, : used.k_o] = u * s2[..., None, : used.k_o]
    return q


def _two_sided(u: Array, p: Array, v: Array, lams: Array, kappa: float) -> Array:
    """Return starts of two-sided balance from whole bases u (S, 1, N_o, N_o) and v (S, 1, N_i, N_i).

    ``QQ^T = [[om - lam/2, p], [p, om + lam/2]]`` for each mode, om = sqrt(p^2 + lam^2/4 + kappa^2). The
    Cholesky factor of each has two columns: one of both layers, and one of W1 alone.
    """
    n_i, n_o, m = v.shape[-1], u.shape[-1], p.shape[-1]
    om = np.sqrt(p**2 + 0.25 * lams**2 + kappa**2)
    edge = np.sqrt(0.25 * lams**2 + kappa**2)
    inputs, outputs = om - 0.5 * lams, om + 0.5 * lams
    # The smaller of both follows from the determinant kappa^2 + p^2, without cancellation.
    square = p**2 + kappa**2
    inputs = np.where(lams > 0.0, square / outputs, inputs)
    outputs = np.where(lams < 0.0, square / inputs, outputs)
    outside = edge + 0.5 * np.abs(lams)
    small, large = kappa**2 / outside, outside
    alpha, beta = np.where(lams > 0.0, small, large), np.where(lams > 0.0, large, small)
    q = np.zeros((*om.shape[:2], n_i + n_o, n_i + n_o))
    root = np.sqrt(outputs)
    q[..., :n_i, :m] = v[..., :m] * (p / root)[..., None, :]
    q[..., n_i:, :m] = u[..., :m] * root[..., None, :]
    q[..., :n_i, m : 2 * m] = v[..., :m] * (kappa / root)[..., None, :]
    q[..., :n_i, 2 * m : m + n_i] = v[..., m:] * np.sqrt(alpha)[..., None]
    q[..., n_i:, m + n_i :] = u[..., m:] * np.sqrt(beta)[..., None]
    return q
