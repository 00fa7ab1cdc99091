"""The closed form for given weights, on arrays."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlin.errors import InputError, SaddleWarning
from fastlin.kernels import (
    Scale,
    convergence,
    dispatch,
    follow,
    follow_two_sided,
    network_time_scales,
    padded,
)
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.sizes import Record, UnreducedSizes
from fastlin.validation import check_array, check_times
from fastlin.weights.balance import Balance, checked_balance
from fastlin.weights.fit import narrow

AT_SADDLE = (
    "the flow ends at a saddle, because the start has no component along one of the fastest growing "
    "directions; any perturbation would leave it"
)


class Evolution(NamedTuple):
    """QQ^T(t), and whether each flow ends at a saddle."""

    qqt: Array  # (..., T, N, N)
    saddle: NDArray[np.bool_]  # (...)


class Starts(NamedTuple):
    """A batch of networks in the SVD basis of their targets, in vectors of lanes."""

    batch: tuple[int, ...]
    sizes: UnreducedSizes
    basis: Array  # (..., N, N) of the SVD, inputs first
    lam: Array  # (G, WIDTH)
    s: Array  # (G, m, WIDTH)
    q: Array  # (G, N, H, WIDTH), H at most N

    @classmethod
    def of(cls, sigma_yx: Array, w1: Array, w2: Array, lam: Array) -> Starts:
        """Return the starts of checked inputs, which broadcast.

        sigma_yx (..., N_o, N_i), w1 (..., N_h, N_i), w2 (..., N_o, N_h), lam (...).
        """
        basis, s, q = _in_svd_basis(sigma_yx, w1, w2)
        batch = np.broadcast_shapes(q.shape[:-2], s.shape[:-1], lam.shape)
        sizes = UnreducedSizes(sigma_yx.shape[-1], q.shape[-1], sigma_yx.shape[-2])
        return cls(batch, sizes, basis, _lanes(lam, batch, 0), _lanes(s, batch, 1), _lanes(q, batch, 2))


def evolve(starts: Starts, kappa: Array, times: Array, decay: float = 0.0) -> Evolution:
    """Return QQ^T at every time (T,), for kappa (...) that broadcasts with the starts.

    A decay g > 0 of both layers needs lam = kappa = 0.
    """
    two_sided = np.broadcast_to(kappa, starts.batch) > 0.0
    qqt, saddle = np.empty(()), np.zeros(starts.batch, dtype=bool)
    if not two_sided.all():
        q, ends = factors(starts, times, decay)
        qqt, saddle = q @ np.swapaxes(q, -1, -2), ends & ~two_sided
    if two_sided.any():
        kappas = _lanes(kappa, starts.batch, 0)
        wide = follow_two_sided(starts.sizes, starts.lam, kappas, starts.s, starts.q, times)
        qqt = np.where(
            two_sided[..., None, None, None], _turned(starts, _from_lanes(wide, starts.batch)), qqt
        )
    return Evolution(qqt, saddle)


def factors(starts: Starts, times: Array, decay: float = 0.0) -> tuple[Array, NDArray[np.bool_]]:
    """Return a factor q (..., T, N, H) of QQ^T for kappa = 0, and whether each flow ends at a saddle.

    The hidden basis of q is arbitrary.
    """
    paths = follow(starts.sizes, starts.lam, starts.s, starts.q, times, decay)
    q = starts.basis[..., None, :, :] @ _from_lanes(paths.q, starts.batch)
    return q, _ends_at_saddle(*(_from_lanes(part, starts.batch) for part in paths[1:]))


def observe(starts: Starts, outputs: tuple[int, ...], times: Array, decay: float = 0.0) -> Array:
    """Return kernel outputs (..., T, R) of the flow for kappa = 0 in lanes, with a least loss of 0.

    The sizes have to fit lanes.
    """
    floor = np.zeros_like(starts.lam)
    out = dispatch.observe(starts.sizes, outputs, starts.lam, floor, starts.s, starts.q, times, decay)
    return _from_lanes(out, starts.batch)


def raw_records(sigma_yx: Array, w1: Array, w2: Array) -> tuple[UnreducedSizes, Array]:
    """Return the sizes and records (K, length) of starts with a least loss of 0, as kernels take raw starts.

    sigma_yx (K, N_o, N_i), w1 (K, N_h, N_i), w2 (K, N_o, N_h).
    """
    _, s, q = _in_svd_basis(sigma_yx, w1, w2)
    n_i = w1.shape[-1]
    sizes = UnreducedSizes(n_i, q.shape[-1], w2.shape[-2])
    at, records = Record(sizes), np.zeros((len(q), Record(sizes).length))
    records[:, : s.shape[-1]] = s
    records[:, at.v : at.u] = q[:, :n_i].reshape(len(q), -1)
    records[:, at.u :] = q[:, n_i:].reshape(len(q), -1)
    return sizes, records


def saddles(starts: Starts) -> NDArray[np.bool_]:
    """Return whether each flow (...) for kappa = 0 ends at a saddle."""
    return factors(starts, np.zeros(1))[1]


def _turned(starts: Starts, qqt: Array) -> Array:
    """Return QQ^T (..., T, N, N) in the basis of the units."""
    basis = starts.basis[..., None, :, :]
    return np.asarray(basis @ qqt @ np.swapaxes(basis, -1, -2))


def _in_svd_basis(sigma_yx: Array, w1: Array, w2: Array) -> tuple[Array, Array, Array]:
    """Return the basis (..., N, N) and s of the target, and Q(0) (..., N, H) in it, with H at most N."""
    u, s, vt = np.linalg.svd(sigma_yx, full_matrices=True)
    n_i = vt.shape[-1]
    basis = np.zeros((*s.shape[:-1], n_i + u.shape[-1], n_i + u.shape[-1]))
    basis[..., :n_i, :n_i], basis[..., n_i:, n_i:] = np.swapaxes(vt, -1, -2), u
    q = np.concatenate([vt @ np.swapaxes(w1, -1, -2), np.swapaxes(u, -1, -2) @ w2], axis=-2)
    return basis, s, narrow(q)


def time_scales(
    sigma_yx: Array, w1: Array, w2: Array, balance: Balance, fraction: float, scales: Sequence[Scale]
) -> list[float]:
    """Return time scales of the exact flow of one network, of checked inputs."""
    s, q = _in_svd_basis(sigma_yx, w1, w2)[1:]
    sizes = UnreducedSizes(sigma_yx.shape[1], q.shape[-1], sigma_yx.shape[0])
    codes = np.array(scales, dtype=np.int64)
    return network_time_scales(sizes, balance.lam, s, q, fraction, codes, kappa=balance.kappa)


def convergence_times(
    sigma_yx: Array, w1: Array, w2: Array, lams: Array, kappa: float, fraction: float
) -> Array:
    """Return the times of convergence (P,) of the exact flow of networks with leading dimension P."""
    s, q = _in_svd_basis(sigma_yx, w1, w2)[1:]
    sizes = UnreducedSizes(sigma_yx.shape[-1], q.shape[-1], sigma_yx.shape[-2])
    return convergence.convergence_times(sizes, lams, kappa, s, q, fraction)


def _lanes(values: Array, batch: tuple[int, ...], dims: int) -> Array:
    """Broadcast to the batch and gather it in vectors (G, ..., WIDTH). Copies of the last network fill up."""
    tail = values.shape[values.ndim - dims :]
    flat = np.broadcast_to(values, (*batch, *tail)).reshape(-1, *tail)
    filled = flat[np.minimum(np.arange(padded(len(flat), WIDTH)), len(flat) - 1)]
    return np.ascontiguousarray(np.moveaxis(filled.reshape(-1, WIDTH, *tail), 1, -1))


def _from_lanes(values: Array, batch: tuple[int, ...]) -> Array:
    """Undo `_lanes`."""
    flat = np.moveaxis(values, -1, 1).reshape(-1, *values.shape[1:-1])
    return flat[: math.prod(batch)].reshape(*batch, *values.shape[1:-1])


def _ends_at_saddle(
    column_rate: Array, column_excess: Array, w: Array, excess_rate: Array
) -> NDArray[np.bool_]:
    """Tell whether a start misses one of the fastest growing directions that its width could carry."""
    top = min(w.shape[-1], column_rate.shape[-1])
    slower = column_excess[..., :top] < excess_rate[..., :top] * (1 - 1e-12)
    return np.asarray(((w[..., :top] > 0.0) & ((column_rate[..., :top] <= 0.0) | slower)).any(axis=-1))


def solve_qqt(
    sigma_yx: ArrayLike,
    w1: ArrayLike,
    w2: ArrayLike,
    times: ArrayLike,
    lam: ArrayLike | None = None,
    kappa: ArrayLike | None = None,
) -> Array:
    """Solve the learning dynamics of QQ^T exactly (Theorem A.3, corrected, extended and stably evaluated).

    ``d(QQ^T)/dt = F QQ^T + QQ^T F - (QQ^T)^2 + kappa^2 I`` with ``Q = [W1, W2^T]^T`` and
    ``F = [[-lam/2 I, Sigma_yx^T], [Sigma_yx, lam/2 I]]``, for whitened inputs and balanced weights,
    ``Q (D - lam I) Q^T = -kappa^2 J``. To our knowledge kappa > 0 has no published closed form.

    Parameters
    ----------
    sigma_yx : array_like, (..., N_o, N_i)
        Input-output correlations Y X^T / P.
    w1 : array_like, (..., N_h, N_i)
        Input weights at t = 0.
    w2 : array_like, (..., N_o, N_h)
        Output weights at t = 0.
    times : array_like, (T,)
        Times t / tau = learning_rate * step (dimensionless) >= 0, in any order. inf is allowed.
    lam, kappa : array_like, (...), optional
        Balance of the weights, kappa >= 0. By default it is determined from each pair of weights.

    Returns
    -------
    ndarray, (..., T, N_i + N_o, N_i + N_o)
        QQ^T at each time. Leading dimensions broadcast. Blocks: W1^T W1, and W2 W1 below it, W2 W2^T.

    Raises
    ------
    InputError
        A `ValueError`: shapes do not fit, entries are not finite, times are negative, or the weights
        are not balanced, in which case it states the imbalance.

    Warns
    -----
    SaddleWarning
        If inf is among the times and a flow ends at a saddle. This is common at lam = 0 and
        N_i = N_o <= N_h, where the sign of det(W2 W1) is conserved.

    Notes
    -----
    The cost does not depend on t. At t = inf the result is the limit of the flow, which is a saddle if
    the start has no component along one of the fastest growing directions.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([[0.1]])
    >>> solve_qqt([[2.0]], w, w, [0, np.inf], lam=0.0).round(2).tolist()
    [[[0.01, 0.01], [0.01, 0.01]], [[2.0, 2.0], [2.0, 2.0]]]
    """
    target = check_array("sigma_yx", sigma_yx, "(..., N_o, N_i)")
    first = check_array("w1", w1, "(..., N_h, N_i)")
    second = check_array("w2", w2, "(..., N_o, N_h)")
    check_shapes(target, first, second)
    moments = check_times(times)
    batch = _batch(target, first, second)
    lams, kappas = _balances(first, second, batch, lam, kappa)
    path = evolve(Starts.of(target, first, second, lams), kappas, moments)
    warn_of_saddles(moments, path.saddle)
    return path.qqt


def warn_of_saddles(times: Array, saddle: NDArray[np.bool_]) -> None:
    """Warn the caller's caller if t = inf is asked for and a flow ends at a saddle."""
    if np.isinf(times).any() and saddle.any():
        warnings.warn(
            f"at t = inf {AT_SADDLE}",
            SaddleWarning,
            stacklevel=3,
        )


def check_shapes(sigma_yx: Array, w1: Array, w2: Array) -> None:
    """Raise unless the trailing sizes of target and weights agree."""
    n_o, n_i = sigma_yx.shape[-2:]
    n_h = w1.shape[-2]
    if w1.shape[-1] != n_i or w2.shape[-2:] != (n_o, n_h):
        raise InputError(
            f"sigma_yx {sigma_yx.shape}, w1 {w1.shape} and w2 {w2.shape} do not fit; "
            "needed are (..., N_o, N_i), (..., N_h, N_i) and (..., N_o, N_h)"
        )


def _batch(*matrices: Array) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(matrix.shape[:-2] for matrix in matrices))
    except ValueError:
        shapes = ", ".join(str(matrix.shape[:-2]) for matrix in matrices)
        raise InputError(f"leading dimensions {shapes} do not broadcast") from None


def _balances(
    w1: Array, w2: Array, batch: tuple[int, ...], lam: ArrayLike | None, kappa: ArrayLike | None
) -> tuple[Array, Array]:
    """Return lam and kappa (...) of every pair of weights, checked against them."""
    given: dict[str, Array] = {}
    for name, value in (("lam", lam), ("kappa", kappa)):
        if value is None:
            continue
        given[name] = check_array(name, value, "(...)")
        try:
            batch = np.broadcast_shapes(batch, given[name].shape)
        except ValueError:
            raise InputError(f"{name} {given[name].shape} does not broadcast with {batch}") from None
    first = np.broadcast_to(w1, (*batch, *w1.shape[-2:]))
    second = np.broadcast_to(w2, (*batch, *w2.shape[-2:]))
    wanted = {name: np.broadcast_to(values, batch) for name, values in given.items()}
    result = np.empty((2, *batch))
    for index in np.ndindex(batch):
        numbers = {name: float(values[index]) for name, values in wanted.items()}
        result[:, *index] = checked_balance(first[index], second[index], **numbers)
    return result[0], result[1]
