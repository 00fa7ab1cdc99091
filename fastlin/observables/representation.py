"""Observables of what a network has learned: modes of its task, and representations of conditions.

Leading dimensions (...) are those of a stack of networks.
"""

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.observables.trajectory import Trajectory, at_all_times


def mode_strengths(path: Trajectory) -> Array:
    """Return the diagonal of U^T W V (..., T, m), W the map of the network and Sigma_yx = U S V^T."""
    return _in_modes(path)[0]


def alignment(path: Trajectory) -> Array:
    """Return squared cosines (..., T, m, 2): of W v_a and u_a, and of W^T u_a and v_a.

    Both are 1 where u_a and v_a are singular vectors of W, in whichever order, also where its singular values
    are equal. A mode that W does not have, apart from rounding errors, has none: NaN.
    """
    strengths, images, preimages = _in_modes(path)
    norms = np.stack([np.linalg.norm(images, axis=-2), np.linalg.norm(preimages, axis=-1)], axis=-1)
    size = np.linalg.norm(path.map, axis=(-2, -1))[..., None, None]
    present = norms > (path.n_i + path.n_o) * np.finfo(float).eps * size
    cosines = strengths[..., None] / np.where(present, norms, 1.0)
    return np.where(present, np.minimum(cosines**2, 1.0), np.nan)


def _in_modes(path: Trajectory) -> tuple[Array, Array, Array]:
    """Return the diagonal of U^T W V (..., T, m), W V (..., T, N_o, m) and U^T W (..., T, m, N_i)."""
    u, _, vt = np.linalg.svd(path.task.sigma_yx, full_matrices=False)
    u, vt = at_all_times(u), at_all_times(vt)
    preimages = np.swapaxes(u, -1, -2) @ path.map
    images = path.map @ np.swapaxes(vt, -1, -2)
    return np.asarray(np.sum(preimages * vt, axis=-1)), np.asarray(images), np.asarray(preimages)


def rdm_cosine(path: Trajectory) -> Array:
    """Return 1 - cosine of the hidden layer's mean activity in two conditions (..., T, K, K)."""
    return _cosine_distance(path, path.task.condition_means)


def rdm_correlation(path: Trajectory) -> Array:
    """Return the same (..., T, K, K) for activity less its mean over conditions.

    A mean over hidden units would depend on their rotation, which no function of the network depends on.
    """
    means = path.task.condition_means
    return _cosine_distance(path, means - means.mean(axis=-1, keepdims=True))


def _cosine_distance(path: Trajectory, inputs: Array) -> Array:
    """Return cosine distances of W1 x for inputs (..., N_i, K). It is NaN where W1 x is 0."""
    x = at_all_times(inputs)
    gram = np.swapaxes(x, -1, -2) @ path.w1tw1 @ x
    squares = np.diagonal(gram, axis1=-2, axis2=-1)
    norms = np.sqrt(np.where(squares > 0.0, squares, np.nan))
    cosines = gram / (norms[..., :, None] * norms[..., None, :])
    return np.asarray(1.0 - np.clip(cosines, -1.0, 1.0))
