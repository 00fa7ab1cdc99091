"""Gradient descent of one network on its weights, for any inputs."""

import numpy as np

from fastlin.kernels.compiler.jit import Array, Integers, jit


@jit
def move(weights: Array, kept: float, rate: float, change: Array) -> None:
    """Write ``kept * weights + rate * change`` to weights, without a temporary array."""
    for row in range(weights.shape[0]):
        for column in range(weights.shape[1]):
            weights[row, column] = kept * weights[row, column] + rate * change[row, column]


@jit
def descend(
    w1: Array,
    w2: Array,
    sigma_yx: Array,
    sigma_xx: Array | None,
    rates: tuple[float, float],
    decay: tuple[float, float],
    steps: Integers,
    path1: Array,
    path2: Array,
) -> None:
    """Run gradient descent: `W1 += eta1 (W2^T E - g1 W1)`, `W2 += eta2 (E W1^T - g2 W2)`.

    Both are of the old weights. w1 (N_h, N_i) and w2 (N_o, N_h) are overwritten. sigma_xx (N_i, N_i) is None
    for whitened inputs. rates = (eta1, eta2), decay = (g1, g2). steps (T,) ascend. path1 (T, N_h, N_i) and
    path2 (T, N_o, N_h) are written.
    """
    ratio = rates[1] / rates[0]
    kept1, kept2 = 1.0 - rates[0] * decay[0], 1.0 - rates[1] * decay[1]
    step = 0
    for index in range(steps.size):
        while step < steps[index]:
            product = np.dot(w2, w1)
            if sigma_xx is not None:
                product = np.dot(product, sigma_xx)
            error = rates[0] * (sigma_yx - product)
            change1 = np.dot(w2.T, error)
            move(w2, kept2, ratio, np.dot(error, w1.T))
            move(w1, kept1, 1.0, change1)
            step += 1
        path1[index], path2[index] = w1, w2
