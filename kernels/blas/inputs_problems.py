"""Problems with inputs that are not whitened: tasks and starts in the eigenbasis of Sigma_xx, on NumPy."""

from typing import NamedTuple

import numpy as np

from fastlin.kernels.blas.problems import factorise, reduced
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.draws import Factors, Problem, Target, WeightLaw, strength
from fastlin.kernels.sizes import InputsRecord, Sizes
from fastlin.kernels.starts import start_of
from fastlin.kernels.tolerances import EPSILON, FLAT


class InputsTask(NamedTuple):
    """A task in the eigenbasis V of Sigma_xx."""

    sigma: Array  # (N_o, N_i) Sigma_yx V
    c: Array  # (N_i,) eigenvalues of Sigma_xx, rising; those within rounding of 0 are 0
    axes: Array  # (N_i, N_i) V

    @property
    def rank(self) -> int:
        """Dimensions of the span of the inputs, which has the last axes."""
        return int(np.count_nonzero(self.c))


def in_eigenbasis(target: Target) -> InputsTask:
    """Return a task in the eigenbasis of Sigma_xx, which is the identity where the inputs are whitened."""
    sigma, _, sigma_xx = target
    if sigma_xx is None:
        return InputsTask(sigma, np.ones(sigma.shape[1]), np.eye(sigma.shape[1]))
    c, axes = np.linalg.eigh(sigma_xx)
    certain = c[c > FLAT * c[-1]]
    flat = certain.size and certain[-1] - certain[0] <= FLAT * certain[-1]
    learns = c > (FLAT if flat else c.size * EPSILON) * c[-1]
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
            q = _turned(task, _raw_start(sizes, seed, problem, scale))
        else:
            q = _balanced_start(sizes, seed, problem, task, scale, lams[index], kappas[index])
        record[: at.c], record[at.c : at.floor], record[at.floor] = task.sigma.ravel(), task.c, target.floor
        record[at.total] = np.linalg.svd(target.sigma_yx, compute_uv=False).sum()
        q = reduced(q)
        record[at.v :].reshape(left.n, left.width)[:, : q.shape[1]] = q
    return records


def _turned(task: InputsTask, q: Array) -> Array:
    """Return Q with its rows of inputs in the eigenbasis."""
    n_i = task.c.size
    return np.concatenate([task.axes.T @ q[:n_i], q[n_i:]])


def nanoseconds(sizes: Sizes) -> Array:
    """Estimate the time of a record, measured for 1 to 60 units a layer."""
    return np.asarray(200_000.0 + 600.0 * sizes.n_i**2)


def _raw_start(sizes: Sizes, seed: int, problem: Problem, init_scale: float) -> Array:
    """Return Q(0) (N, N_h) of raw weights."""
    assert isinstance(problem.start, WeightLaw)
    w1, w2 = problem.start.weights(seed, sizes)
    return init_scale * np.concatenate([w1.T, w2])


def _balanced_start(
    sizes: Sizes, seed: int, problem: Problem, task: InputsTask, init_scale: float, lam: float, kappa: float
) -> Array:
    """Return Q(0) (N, columns) of a balance in the eigenbasis. An aligned start has the vectors of Sigma_yx.

    Where inputs are dependent, the start is drawn for the dimensions of their span, and W1 is 0 off it.
    """
    whole = task.rank == sizes.n_i
    reached = sizes if whole else Sizes(task.rank, sizes.n_h, sizes.n_o)
    span = np.eye(sizes.n_i) if whole else task.axes[:, sizes.n_i - task.rank :]
    product = problem.start.product(seed, reached)
    if product is None:
        u, _, v = factorise(task.sigma @ task.axes.T @ span, sizes.n_h)
        p = np.ones(reached.k)
    else:
        given = product.shape[1] > reached.n_i  # a law of given weights, on all inputs
        u, p, v = factorise(product @ span if given else product, sizes.n_h)
    q = start_of(Factors(u, strength(problem.start, init_scale) * p, v), lam, kappa)
    if whole:
        return _turned(task, q)
    return np.concatenate([np.zeros((sizes.n_i - reached.n_i, q.shape[1])), q])
