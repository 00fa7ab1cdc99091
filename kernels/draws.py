"""Draws of tasks and of starts. One network and sweeps share these definitions.

A task is drawn by its sufficient statistics, and a start by the unbalanced product W2 W1 or its factors.
"""

from typing import NamedTuple

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.random import (
    Stream,
    add_squares,
    pairs_of,
    scratch,
    shared,
    standard_normals,
    stream_key,
)
from fastlin.kernels.sizes import Sizes

# Power of init_scale that multiplies the singular values of the unbalanced product W2 W1. Raw weights scale
# both factors, the Sigma_yx of a task scales once, and a mode of an aligned start is w1 * w2.
INIT_POWER = {"gaussian": 2, "random_regression": 1, "aligned": 2}


class Factors(NamedTuple):
    """Singular vectors and values of an unbalanced product W2 W1: u (N_o, k_o), p (k,), v (N_i, k_i)."""

    u: Array
    p: Array
    v: Array


def target_unit(n_o: int, n_samples: int, target_scale: float) -> float:
    """Return the standard deviation of an entry of Sigma_yx: target_scale / sqrt(N_o P)."""
    return float(target_scale / np.sqrt(n_o * n_samples))


class TargetDraws(NamedTuple):
    """Standard normals in the frame of the inputs: along them (N_o, N_i), off them (N_o, P - N_i)."""

    along: Array
    off: Array


def draw_targets(seed: int, sizes: Sizes, n_samples: int) -> TargetDraws:
    """Draw the targets of a random regression task (B.2.1) as standard normals.

    Y is i.i.d. normal and independent of X, so Y has the same law in any orthonormal frame of the sample
    space. In the frame whose first N_i axes are the rows of the whitened X,
    ``Sigma_yx = target_scale / sqrt(N_o P) * along`` and the rest of Y is ``off``. X itself is not needed.
    """
    entries = sizes.n_o * sizes.n_i
    along = standard_normals(Stream.TARGETS, seed, shared(sizes), entries)
    off = standard_normals(
        Stream.TARGETS, seed, shared(sizes), sizes.n_o * (n_samples - sizes.n_i), pairs_of(entries)
    )
    return TargetDraws(along.reshape(sizes.n_o, sizes.n_i), off.reshape(sizes.n_o, -1))


def target_floor(seed: int, sizes: Sizes, n_samples: int, target_scale: float) -> float:
    """Return (tr Sigma_yy - |Sigma_yx|^2) / 2 of such a task, from the targets off the span of the inputs."""
    total, seeds = np.zeros(WIDTH), np.full(WIDTH, seed)
    key = np.uint64(stream_key(Stream.TARGETS, shared(sizes)))
    off = sizes.n_o * (n_samples - sizes.n_i)
    add_squares(key, seeds, pairs_of(sizes.n_o * sizes.n_i), off, scratch(), total)
    return 0.5 * target_unit(sizes.n_o, n_samples, target_scale) ** 2 * float(total[0])


def draw_product(kind: str, seed: int, sizes: Sizes, n_samples: int | None) -> Array:
    """Draw the unbalanced product W2 W1 (N_o, N_i) at init_scale 1, of a kind that is random."""
    if kind == "gaussian":
        w1, w2 = draw_weights(seed, sizes)
        return w2 @ w1
    assert n_samples is not None
    numbers = standard_normals(INIT_STREAMS[kind], seed, sizes, init_draws(kind, sizes))
    return target_unit(sizes.n_o, n_samples, 1.0) * numbers.reshape(sizes.n_o, sizes.n_i)


def draw_weights(seed: int, sizes: Sizes) -> tuple[Array, Array]:
    """Draw raw Gaussian weights W1 (N_h, N_i) and W2 (N_o, N_h) at init_scale 1."""
    numbers = standard_normals(INIT_STREAMS["gaussian"], seed, sizes, init_draws("gaussian", sizes))
    first, second = np.split(numbers, [sizes.n_h * sizes.n_i])
    return first.reshape(sizes.n_h, sizes.n_i), second.reshape(sizes.n_o, sizes.n_h)


INIT_STREAMS = {"gaussian": Stream.INIT_GAUSSIAN, "random_regression": Stream.INIT_REGRESSION}


def init_draws(kind: str, sizes: Sizes) -> int:
    """Return the number of standard normals that a start takes."""
    counts = {
        "gaussian": sizes.n_h * (sizes.n_i + sizes.n_o),
        "random_regression": sizes.n_i * sizes.n_o,
        "aligned": 0,
    }
    return counts[kind]
