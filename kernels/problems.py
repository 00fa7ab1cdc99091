"""What an (architecture, seed) needs that does not depend on lam: drawn, factorised, in the SVD basis.

In the basis of Sigma_yx = U S V^T the target is diagonal and nothing depends on the hidden rotation, so
all lam, init_scale and times of a sweep share one `Problem`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fastlin.kernels.jit import Array
from fastlin.kernels.random import Stream, generator

# Power of init_scale that multiplies the singular values of the unbalanced product W2 W1: raw weights
# scale both factors, the Sigma_yx of a task scales once, a mode of an aligned start is w1 * w2.
INIT_POWER = {"gaussian": 2, "random_regression": 1, "aligned": 2}


class Problem(NamedTuple):
    """Statistics of a batch of S seeds; k_i = min(N_h, N_i), k_o = min(N_h, N_o), m = min(N_i, N_o)."""

    s: Array  # (S, m) singular values of Sigma_yx, descending
    v: Array  # (S, N_i, k_i) V^T v: right singular vectors of the product, in those of the task
    u: Array  # (S, N_o, k_o) U^T u: the left ones
    p: Array  # (S, min(k_i, k_o)) singular values of the product
    floor: Array  # (S,) (tr Sigma_yy - |Sigma_yx|^2) / 2, the loss that no linear map goes below


class Factors(NamedTuple):
    """Full SVD u (N_o, N_o), p (m,), v (N_i, N_i) of the unbalanced product W2 W1 (columns are vectors)."""

    u: Array
    p: Array
    v: Array


def factorise(matrix: Array) -> Factors:
    """Return the full SVD of `matrix` (N_o, N_i), vectors in columns."""
    u, p, vt = np.linalg.svd(matrix, full_matrices=True)
    return Factors(u, p, vt.T)


class TargetDraws(NamedTuple):
    """Standard normals in the frame of the inputs: along them (N_o, N_i), off them (N_o, P - N_i)."""

    along: Array
    off: Array


def draw_targets(seed: int, n_i: int, n_o: int, n_samples: int) -> TargetDraws:
    """Draw the targets of a random regression task (B.2.1) as standard normals.

    Y is i.i.d. normal and X is independent of it, so Y has the same law in any orthonormal frame of
    the sample space. In the frame whose first N_i axes are the rows of the whitened X,
    ``Sigma_yx = target_scale / sqrt(N_o P) * along`` and the rest of Y is ``off``: X itself is not needed.
    """
    stream = generator(Stream.TARGETS, seed, n_i, n_o)
    along = stream.standard_normal((n_o, n_i))
    return TargetDraws(along, stream.standard_normal((n_o, n_samples - n_i)))


def target_unit(n_o: int, n_samples: int, target_scale: float) -> float:
    """Return the standard deviation of an entry of Sigma_yx: target_scale / sqrt(N_o P)."""
    return float(target_scale / np.sqrt(n_o * n_samples))


def draw_product(kind: str, seed: int, n_i: int, n_h: int, n_o: int, n_samples: int | None) -> Array:
    """Draw the unbalanced product W2 W1 (N_o, N_i) at init_scale 1, for the kinds that are drawn."""
    if kind == "gaussian":
        stream = generator(Stream.INIT_GAUSSIAN, seed, n_i, n_o, n_h)
        w1 = stream.standard_normal((n_h, n_i))
        return stream.standard_normal((n_o, n_h)) @ w1
    assert kind == "random_regression" and n_samples is not None
    stream = generator(Stream.INIT_REGRESSION, seed, n_i, n_o, n_h)
    return target_unit(n_o, n_samples, 1.0) * stream.standard_normal((n_o, n_i))


def draw_problems(
    n_i: int,
    n_h: int,
    n_o: int,
    seeds: Iterable[int],
    n_samples: int,
    target_scale: float,
    init_kind: str,
    init_scale: float,
) -> Problem:
    """Return the statistics of the networks of `seeds` under one architecture and init_scale.

    Each seed is drawn and factorised by itself, so the bits do not depend on its neighbours.
    """
    unit = target_unit(n_o, n_samples, target_scale)
    scale = init_scale ** INIT_POWER[init_kind]
    k_i, k_o, k = min(n_h, n_i), min(n_h, n_o), min(n_i, n_h, n_o)
    rows = []
    for seed in seeds:
        along, off = draw_targets(seed, n_i, n_o, n_samples)
        task = factorise(unit * along)
        if init_kind == "aligned":
            v, u, p = np.eye(n_i), np.eye(n_o), np.ones(k)
        else:
            product = factorise(draw_product(init_kind, seed, n_i, n_h, n_o, n_samples))
            v, u, p = task.v.T @ product.v, task.u.T @ product.u, product.p
        rows.append((task.p, v[:, :k_i], u[:, :k_o], scale * p[:k], unit**2 / 2 * np.sum(off**2)))
    return Problem(*(np.ascontiguousarray(np.stack(column)) for column in zip(*rows, strict=True)))
