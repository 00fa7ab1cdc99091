"""QQ^T of networks over time, and the observables that are functions of it.

Leading dimensions (...) are those of a stack of networks. One network has none.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.tasks.arrays import TaskArrays, loss_form
from fastlin.tasks.task import Task


@dataclass(frozen=True)
class Trajectory:
    """QQ^T of networks over time, (..., T, N, N), the start (..., N, N), and the tasks they learn.

    `task` is the task of all networks, or their own tasks with the same leading dimensions. `rates` are the
    learning rates (e1, e2) of the layers in units of their geometric mean, ``e1 e2 = 1``.
    """

    qqt: Array
    start: Array
    n_h: int
    task: Task | TaskArrays
    balance_drift: Array  # (..., T)
    rates: tuple[float, float] = (1.0, 1.0)

    @property
    def n_i(self) -> int:
        """Number of inputs."""
        return self.task.n_i

    @property
    def n_o(self) -> int:
        """Number of outputs."""
        return self.task.n_o

    @property
    def w1tw1(self) -> Array:
        """W1^T W1 (..., T, N_i, N_i)."""
        return self.qqt[..., : self.n_i, : self.n_i]

    @property
    def w2w1(self) -> Array:
        """W2 W1 (..., T, N_o, N_i)."""
        return self.qqt[..., self.n_i :, : self.n_i]

    @property
    def map(self) -> Array:
        """The linear map of the network (..., T, N_o, N_i): offset + gain W2 W1, as the task has them."""
        offset = self.task.offset
        if np.all(self.gain == 1.0) and not np.any(offset):
            return self.w2w1
        return np.asarray((at_all_times(offset) if isinstance(offset, np.ndarray) else offset) + self.update)

    @property
    def update(self) -> Array:
        """The part of the map that is trained, gain W2 W1 (..., T, N_o, N_i)."""
        return np.asarray(self.gain * self.w2w1)

    @property
    def gain(self) -> Array:
        """The gain of the task (..., 1, 1, 1)."""
        return np.asarray(self.task.gain)[..., None, None, None]

    @property
    def inputs(self) -> Array:
        """Sigma_xx (..., 1, N_i, N_i) of the inputs that drive the weights, gain X."""
        return np.asarray(self.gain**2 * at_all_times(self.task.sigma_xx))

    @property
    def w2w2t(self) -> Array:
        """W2 W2^T (..., T, N_o, N_o)."""
        return self.qqt[..., self.n_i :, self.n_i :]

    @cached_property
    def driving(self) -> tuple[Array, Array]:
        """QQ^T (..., T, N, N) and the start (..., N, N) of ``U1 = sqrt(e2) W1, U2 = sqrt(e1) W2``.

        The NTK of U drives the network function: ``d(W2 W1 X)/dt`` has the learning rates in it.
        """
        if self.rates == (1.0, 1.0):
            return self.qqt, self.start
        e1, e2 = self.rates
        root = np.sqrt(np.repeat([e2, e1], [self.n_i, self.n_o]))
        factors = root[:, None] * root
        return self.qqt * factors, self.start * factors


def at_all_times(matrices: Array) -> Array:
    """Return matrices (..., rows, columns) of tasks with an axis for time, (..., 1, rows, columns)."""
    return matrices[..., None, :, :]


def loss(path: Trajectory) -> Array:
    """Return |Y - map X|^2 / (2 P) (..., T), in a form that does not cancel near the minimum."""
    task = path.task
    target, root, floor, divisor = task.loss if isinstance(task, TaskArrays) else loss_form(task)
    mapped = path.map if root is None else path.map @ at_all_times(root)
    squares = 0.5 * np.sum((at_all_times(target) - mapped) ** 2, axis=(-2, -1))
    return np.asarray(np.asarray(floor)[..., None] + squares / np.asarray(divisor)[..., None])


def _unit(qqt: Array) -> tuple[Array, Array]:
    """Return QQ^T over its largest entry, and that entry: fourth powers of weights stay in range."""
    scale = np.abs(qqt).max(axis=(-2, -1))
    return qqt / np.where(scale > 0, scale, 1.0)[..., None, None], scale


def _ntk_inner(n_i: int, n_o: int, c: Array, first: Array, second: Array) -> Array:
    """<K, K'> / P^2 of the NTKs that belong to two QQ^T (..., N, N), never formed, with C (..., N_i, N_i).

    ``N_o tr(M C M' C) + tr M'C^2 tr B + tr MC^2 tr B' + <B, B'> tr C^2``, C = gain^2 Sigma_xx.
    """
    mc1, mc2 = first[..., :n_i, :n_i] @ c, second[..., :n_i, :n_i] @ c
    b1, b2 = first[..., n_i:, n_i:], second[..., n_i:, n_i:]
    ct = np.swapaxes(c, -1, -2)
    return np.asarray(
        n_o * np.sum(mc1 * np.swapaxes(mc2, -1, -2), axis=(-2, -1))
        + np.sum(mc1 * ct, axis=(-2, -1)) * np.trace(b2, axis1=-2, axis2=-1)
        + np.sum(mc2 * ct, axis=(-2, -1)) * np.trace(b1, axis1=-2, axis2=-1)
        + np.sum(b1 * b2, axis=(-2, -1)) * np.sum(c**2, axis=(-2, -1))
    )


def ntk_norm(path: Trajectory) -> Array:
    """Return |K| / P (..., T)."""
    unit, scale = _unit(path.driving[0])
    return np.asarray(scale * np.sqrt(_ntk_inner(path.n_i, path.n_o, path.inputs, unit, unit)))


def kernel_distance(path: Trajectory) -> Array:
    """Return the distance of the NTK from its start (..., T)."""
    now, start = _unit(path.driving[0])[0], at_all_times(_unit(path.driving[1])[0])
    n_i, n_o, c = path.n_i, path.n_o, path.inputs
    norm = np.sqrt(_ntk_inner(n_i, n_o, c, now, now))
    norm0 = np.sqrt(_ntk_inner(n_i, n_o, c, start, start))
    with np.errstate(invalid="ignore"):  # a network of zero weights has no kernel to be distant from
        cosine = _ntk_inner(n_i, n_o, c, now, start) / norm / norm0
    return np.asarray(1.0 - np.minimum(cosine, 1.0))


def weight_norms(path: Trajectory) -> Array:
    """Return |W1| and |W2| (..., T, 2)."""
    traces = [np.trace(block, axis1=-2, axis2=-1) for block in (path.w1tw1, path.w2w2t)]
    return np.asarray(np.sqrt(np.stack(traces, axis=-1)))


def effective_rank(path: Trajectory) -> Array:
    """Return the effective rank of the map (..., T)."""
    values = np.linalg.svd(path.map, compute_uv=False)
    totals = values.sum(axis=-1, keepdims=True)
    shares = values / np.where(totals > 0, totals, 1.0)
    logs = np.log(np.where(shares > 0, shares, 1.0))
    return np.where(totals[..., 0] > 0, np.exp(-np.sum(shares * logs, axis=-1)), 0.0)


def network_function(path: Trajectory) -> Array:
    """Return map X (..., T, N_o, P)."""
    return np.asarray(path.map @ at_all_times(path.task.X))


def rsm_input(path: Trajectory) -> Array:
    """Return X^T W1^T W1 X (..., T, P, P)."""
    x = at_all_times(path.task.X)
    return np.asarray(np.swapaxes(x, -1, -2) @ path.w1tw1 @ x)


def rsm_output(path: Trajectory) -> Array:
    """Return Y^T (W2 W2^T)^+ Y (..., T, P, P).

    The pseudo-inverse has at most N_h directions, the rank of W2 W2^T. Others are rounding errors.
    """
    values, vectors = np.linalg.eigh(path.w2w2t)
    n_o = values.shape[-1]
    cutoff = values[..., -1:] * (8 * n_o * np.finfo(float).eps)
    keep = (values > cutoff) & (np.arange(n_o) >= n_o - path.n_h)
    weights = np.where(keep, 1.0 / np.where(keep, values, 1.0), 0.0)
    projected = np.swapaxes(vectors, -1, -2) @ at_all_times(path.task.Y)
    return np.asarray(np.swapaxes(projected, -1, -2) @ (weights[..., None] * projected))


def ntk(path: Trajectory) -> Any:
    """Return a Dask array (..., T, N_o, P, N_o, P) with a chunk per network and time, computed on access."""
    import dask.array as da

    (e1, e2), x = path.rates, at_all_times(path.task.X)
    chunks = (*(1,) * (path.qqt.ndim - 2), -1, -1)
    scale = path.gain**2
    similarity = da.from_array(scale * e2 * rsm_input(path), chunks=chunks)
    output = da.from_array(scale * e1 * path.w2w2t, chunks=chunks)
    same = np.eye(path.n_o)[:, None, :, None]
    inputs = (np.swapaxes(x, -1, -2) @ x)[..., None, :, None, :]
    kernel = same * similarity[..., None, :, None, :] + output[..., :, None, :, None] * inputs
    return kernel
