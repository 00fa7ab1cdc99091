"""Problems with inputs that are not whitened: tasks and starts in the eigenbasis of Sigma_xx, on NumPy."""

from typing import NamedTuple

import numpy as np

from fastlin.kernels.blas.problems import factorise, reduced
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.draws import Factors, Problem, Target, WeightLaw, strength
from fastlin.kernels.sizes import InputsRecord, Sizes
from fastlin.kernels.starts import start_of
from fastlin.kernels.tolerances import EPSILON


class InputsTask(NamedTuple):
    """A task in the eigenbasis V of Sigma_xx."""

    sigma: Array  # (N_o, N_i) Sigma_yx V
    c: Array  # (N_i,) eigenvalues of Sigma_xx, rising; those within rounding of 0 are 0
    axes: Array  # (N_i, N_i) V


def in_eigenbasis(target: Target) -> InputsTask:
    """Return a task in the eigenbasis of Sigma_xx, which is the identity where the inputs are whitened."""
    sigma, _, sigma_xx = target
    if sigma_xx is None:
        return InputsTask(sigma, np.ones(sigma.shape[1]), np.eye(sigma.shape[1]))
    c, axes = np.linalg.eigh(sigma_xx)
    learns = c > c.size * EPSILON * c[-1]
    return InputsTask(np.where(learns, sigma @ axes, 0.0), np.where(learns, c, 0.0), axes)


def draw_records(
    sizes: Sizes,
    seeds: Integers,
    problem: Problem,
    init_scales: Array,
    lams: Array | None,
    kappas: Array,
) -> Array:
    """Return the records (S, length) of starts (see `dispatch.draw_inputs_records`)."""
    left = sizes.unreduced
    at, records = InputsRecord(left), np.zeros((seeds.size, InputsRecord(left).length))
    for index, seed in enumerate(seeds.tolist()):
        record, scale = records[index], float(init_scales[index])
        target = problem.task.draw(seed, sizes)
        task = in_eigenbasis(target)
        if lams is None:
            q = _raw_start(sizes, seed, problem, scale)
        else:
            q = _balanced_start(sizes, seed, problem, target, scale, lams[index], kappas[index])
        record[: at.c], record[at.c : at.floor], record[at.floor] = task.sigma.ravel(), task.c, target.floor
        record[at.total] = np.linalg.svd(target.sigma_yx, compute_uv=False).sum()
        turned = np.concatenate([task.axes.T @ q[: sizes.n_i], q[sizes.n_i :]])
        turned = reduced(turned)
        record[at.v :].reshape(left.n, left.width)[:, : turned.shape[1]] = turned
    return records


def _raw_start(sizes: Sizes, seed: int, problem: Problem, init_scale: float) -> Array:
    """Return Q(0) (N, N_h) of raw weights."""
    assert isinstance(problem.start, WeightLaw)
    w1, w2 = problem.start.weights(seed, sizes)
    return init_scale * np.concatenate([w1.T, w2])


def _balanced_start(
    sizes: Sizes, seed: int, problem: Problem, target: Target, init_scale: float, lam: float, kappa: float
) -> Array:
    """Return Q(0) (N, columns) of a balance. An aligned start has the singular vectors of Sigma_yx."""
    product = problem.start.product(seed, sizes)
    if product is None:
        aligned = factorise(target.sigma_yx, sizes.n_h)
        factors = aligned._replace(p=np.ones(sizes.k))
    else:
        factors = factorise(product, sizes.n_h)
    scaled = Factors(factors.u, strength(problem.start, init_scale) * factors.p, factors.v)
    return start_of(scaled, lam, kappa)
