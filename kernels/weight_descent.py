"""Gradient descent of one network on its weights, for any inputs."""

import numpy as np

from fastlin.kernels.compiler.jit import Array, Integers, jit


@jit
def descend(
    w1: Array,
    w2: Array,
    sigma_yx: Array,
    sigma_xx: Array | None,
    learning_rate: float,
    steps: Integers,
    path1: Array,
    path2: Array,
) -> None:
    """Run gradient descent: `W1 += eta W2^T E`, `W2 += eta E W1^T`, both from the old weights.

    w1 (N_h, N_i) and w2 (N_o, N_h) are overwritten. sigma_xx (N_i, N_i) is None for whitened inputs.
    steps (T,) ascend. path1 (T, N_h, N_i) and path2 (T, N_o, N_h) are written.
    """
    step = 0
    for index in range(steps.size):
        while step < steps[index]:
            product = np.dot(w2, w1)
            if sigma_xx is not None:
                product = np.dot(product, sigma_xx)
            error = learning_rate * (sigma_yx - product)
            change1 = np.dot(w2.T, error)
            w2 += np.dot(error, w1.T)
            w1 += change1
            step += 1
        path1[index], path2[index] = w1, w2
