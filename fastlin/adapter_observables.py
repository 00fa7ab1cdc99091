"""Observables of low-rank updates: norm, alignment with the update that the task asks for, recovered rank.

The update of a network is ``gain W2 W1``, where the task has a gain (see `fastlin.lora`). The task asks for
``dW = Sigma_yx Sigma_xx^+ - offset`` on the span of the inputs.
"""

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.tolerances import ROUNDING
from fastlin.trajectory import Trajectory

SIDES = ("left", "right")
LEARNED = 0.5  # of a singular value, from which on its direction counts as recovered


def adapter_norm(path: Trajectory) -> Array:
    """Return |gain W2 W1| (T,)."""
    return np.asarray(path.task.gain * np.linalg.norm(path.w2w1, axis=(-2, -1)))


def adapter_alignment(path: Trajectory) -> Array:
    """Return |U_k^T P_2|^2 / k and |V_k^T P_1|^2 / k (T, 2); NaN if nothing is left to learn.

    P_2 is the projector on the columns of W2, P_1 that on the rows of W1, and U_k, V_k are the top singular
    vectors of dW, k = min(N_h, rank of dW).
    """
    u, s, v = _wanted(path)
    k = min(path.n_h, int(np.count_nonzero(s)))
    shares = [
        np.sum((np.swapaxes(_support(path, gram), -1, -2) @ vectors[:, :k]) ** 2, axis=(-2, -1))
        for gram, vectors in ((path.w2w2t, u), (path.w1tw1, v))
    ]
    return np.stack(shares, axis=-1) / (k or np.nan)


def recovered_rank(path: Trajectory) -> Array:
    """Return the number of singular directions a of dW with ``u_a^T gain W2 W1 v_a >= s_a / 2`` (T,)."""
    u, s, v = _wanted(path)
    strengths = path.task.gain * np.einsum("oa,...oi,ia->...a", u, path.w2w1, v)
    return np.asarray(np.sum((strengths >= LEARNED * s) & (s > 0.0), axis=-1), dtype=np.float64)


def _wanted(path: Trajectory) -> tuple[Array, Array, Array]:
    """Return U (N_o, m), s (m,) and V (N_i, m) of dW. Singular values that are rounding errors are 0."""
    task, moments = path.task, path.task.moments
    best = task.sigma_yx
    if not task.whitened:
        best = moments.target / np.sqrt(moments.variances) @ moments.axes.T
    offset = task.offset @ task.span @ task.span.T if np.ndim(task.offset) else np.zeros_like(best)
    u, s, vt = np.linalg.svd(best - offset, full_matrices=False)
    size = max(np.linalg.norm(best, 2), np.linalg.norm(offset, 2))
    return u, np.where(s > ROUNDING * size, s, 0.0), vt.T


def _support(path: Trajectory, gram: Array) -> Array:
    """Return eigenvectors (T, n, n) of a Gram matrix of one layer. Those that are rounding errors are 0.

    A factor of QQ^T has errors of its largest entries, and the Gram matrix has their squares.
    """
    values, vectors = np.linalg.eigh(gram)
    n = values.shape[-1]
    error = 8 * n * np.finfo(float).eps
    size = np.trace(path.qqt, axis1=-2, axis2=-1)[..., None]
    keep = (values > np.maximum(error * values[..., -1:], error**2 * size)) & (np.arange(n) >= n - path.n_h)
    return np.where(keep[..., None, :], vectors, 0.0)
