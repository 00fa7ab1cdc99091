"""Observables of low-rank updates: norm, alignment with the update that the task asks for, recovered rank.

The update of a network is ``gain W2 W1``, where the task has a gain (see `fastlin.lora`). The task asks for
``dW = Sigma_yx Sigma_xx^+ - offset`` on the span of the inputs.
"""

from typing import NamedTuple

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.tolerances import ROUNDING
from fastlin.observables.trajectory import Trajectory
from fastlin.tasks.arrays import TaskArrays
from fastlin.tasks.task import Task

SIDES = ("output", "input")  # left and right singular vectors
LEFT = 0.5  # largest error of a direction that counts as recovered, over its singular value


class Modes(NamedTuple):
    """Singular vectors and values of dW, with an axis for time. Values that are rounding errors are 0."""

    u: Array  # (..., 1, N_o, m)
    s: Array  # (..., 1, m)
    v: Array  # (..., 1, N_i, m)


def adapter_norm(path: Trajectory) -> Array:
    """Return |gain W2 W1| (..., T)."""
    return np.asarray(np.linalg.norm(path.update, axis=(-2, -1)))


def adapter_alignment(path: Trajectory) -> Array:
    """Return |U_k^T P_2|^2 / k and |V_k^T P_1|^2 / k (..., T, 2); NaN if nothing is left to learn.

    P_2 is the projector on the columns of W2, P_1 that on the rows of W1, and U_k, V_k are the top singular
    vectors of dW, k = min(N_h, rank of dW).
    """
    u, s, v = _modes(path)
    counted = (s > 0.0) & (np.arange(s.shape[-1]) < path.n_h)
    k = np.count_nonzero(counted, axis=-1)
    sides = [
        np.sum((np.swapaxes(_support(path, gram), -1, -2) @ (vectors * counted[..., None, :])) ** 2, (-2, -1))
        for gram, vectors in ((path.w2w2t, u), (path.w1tw1, v))
    ]
    return np.stack(sides, axis=-1) / np.where(k > 0, k, np.nan)[..., None]


def recovered_rank(path: Trajectory) -> Array:
    """Return the number of singular directions of dW that are learned (..., T).

    A direction a counts where ``|E v_a|`` and ``|E^T u_a|`` are at most half of s_a, ``E = dW - gain W2 W1``.
    A strength on the diagonal alone would count two directions between which the adapter turns.
    """
    u, s, v = _modes(path)
    images = path.update @ v - u * s[..., None, :]
    preimages = np.swapaxes(path.update, -1, -2) @ u - v * s[..., None, :]
    errors = np.maximum(np.linalg.norm(images, axis=-2), np.linalg.norm(preimages, axis=-2))
    return np.asarray(np.sum((errors <= LEFT * s) & (s > 0.0), axis=-1), dtype=np.float64)


def _modes(path: Trajectory) -> Modes:
    task = path.task
    wanted = task.each(_wanted) if isinstance(task, TaskArrays) else _wanted(task)
    u, s, vt = np.linalg.svd(wanted[..., None, 0, :, :], full_matrices=False)
    size = np.linalg.norm(wanted[..., None, 1, :, :], 2, axis=(-2, -1))[..., None]
    return Modes(u, np.where(s > ROUNDING * size, s, 0.0), np.swapaxes(vt, -1, -2))


def _wanted(task: Task) -> Array:
    """Return dW, and the least-squares map, whose rounding errors it has (2, N_o, N_i)."""
    best = task.sigma_yx if task.whitened else task.moments.on_inputs(task.moments.target)
    offset = np.broadcast_to(task.offset, best.shape) @ task.span @ task.span.T
    return np.stack([best - offset, best])


def _support(path: Trajectory, gram: Array) -> Array:
    """Return eigenvectors (..., T, n, n) of a Gram matrix of one layer. Those that are rounding errors are 0.

    A factor of QQ^T has errors of its largest entries, and the Gram matrix has their squares.
    """
    values, vectors = np.linalg.eigh(gram)
    n = values.shape[-1]
    error = 8 * n * np.finfo(float).eps
    size = np.trace(path.qqt, axis1=-2, axis2=-1)[..., None]
    keep = (values > np.maximum(error * values[..., -1:], error**2 * size)) & (np.arange(n) >= n - path.n_h)
    return np.where(keep[..., None, :], vectors, 0.0)
