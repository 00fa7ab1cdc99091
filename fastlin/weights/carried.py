"""Weights at a time of a task, from which another task can go on.

A factor of QQ^T is carried, never QQ^T itself, because its square root loses half of all digits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.tolerances import ROUNDING
from fastlin.solvers import EXACT, FLOW, MAX_STEPS
from fastlin.tasks.task import Task
from fastlin.weights.canonical import Canonical, substitute
from fastlin.weights.fit import narrow, signature
from fastlin.weights.flow_path import FlowSettings, check_steps, ends_at_saddle, integrated, to_infinity
from fastlin.weights.rates import EQUAL_RATES
from fastlin.weights.solve import Starts, factors

if TYPE_CHECKING:
    from fastlin.networks.network import Network
    from fastlin.weights.balance import Balance


class Carried(NamedTuple):
    """Weights at the end of a task, and how they were found."""

    w1: Array  # (N_h, N_i)
    w2: Array  # (N_o, N_h)
    solver: str
    saddle: bool  # whether the flow of this task ends at a saddle


def exact_parts(task: Task, net: Network) -> tuple[Canonical, Balance] | None:
    """Return the plain flow that a network follows on a task and its balance, or None without a closed form.

    None is also the answer where the closed form leaves out a part of the weights: W1 off the span of the
    inputs, unless N_h = 1.
    """
    if task.inputs == "general":
        return None
    canonical = substitute(task, net, EQUAL_RATES)
    if canonical.has_frozen_part and not canonical.completes:
        return None
    try:
        return canonical, canonical.balance(task, net, EQUAL_RATES)
    except InputError:
        return None


def carry(task: Task, net: Network, t: float, tolerance: float) -> Carried:
    """Return weights at a time, in any hidden basis: exact where the closed form holds, else by the flow.

    The columns of an exact factor [W1, W2^T]^T are those of the closed form. A column that is still small has
    small errors, so that a mode that starts late is on time in the next task, too. A hidden rotation would
    add errors of the largest column to it.
    """
    parts = exact_parts(task, net)
    if parts is None:
        return _by_flow(task, net, t, tolerance)
    canonical, balance = parts
    factor, saddle = factor_at(*canonical[:3], np.array(balance.lam), np.array(balance.kappa), t)
    q = canonical.back @ factor
    columns = np.zeros((len(q), net.architecture.n_h))
    columns[:, : q.shape[1]] = q
    if canonical.completes:
        sign = 1.0 if factor[:, 0] @ np.concatenate([canonical.w1.T, canonical.w2])[:, 0] >= 0.0 else -1.0
        columns = sign * columns
    w1 = columns[: task.n_i].T + canonical.frozen
    return Carried(w1, columns[task.n_i :], EXACT.name, bool(saddle))


def factor_at(
    sigma_yx: Array, w1: Array, w2: Array, lam: Array, kappa: Array, t: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Return a factor (..., N, K) of QQ^T at a time, K at most N, and whether each flow ends at a saddle.

    The weights (..., H, N_i), (..., N_o, H) have the balance lam, kappa (...), and the inputs are white.
    """
    starts = Starts.of(sigma_yx, w1, w2, lam)
    two_sided = np.broadcast_to(kappa, starts.batch) > 0.0
    if not two_sided.any():
        path, saddle = factors(starts, np.array([t]))
        return path[..., 0, :, :], saddle
    q0 = narrow(np.concatenate([np.swapaxes(w1, -1, -2), w2], axis=-2))
    wide = _two_sided_factor(sigma_yx, lam[..., None], np.where(two_sided, kappa, 1.0)[..., None], q0, t)
    if two_sided.all():
        return wide, np.zeros(starts.batch, dtype=bool)
    path, saddle = factors(starts, np.array([t]))
    return np.where(two_sided[..., None, None], wide, path[..., 0, :, :]), saddle & ~two_sided


def _two_sided_factor(sigma_yx: Array, lam: Array, kappa: Array, q0: Array, t: float) -> Array:
    """Return ``P [sqrt(p), G K R^-1]`` (..., N, N) with ``R^T R = I + K^T h K``, of kappa > 0 (..., 1).

    See `kernels.vector.two_sided` for p, G, K and h. R is that of a QR decomposition of ``[I; sqrt(h) K]``,
    so that nothing cancels.
    """
    n_o, n_i = sigma_yx.shape[-2:]
    f = np.zeros((*np.broadcast_shapes(sigma_yx.shape[:-2], lam.shape[:-1]), n_i + n_o, n_i + n_o))
    f[..., n_i:, :n_i], f[..., :n_i, n_i:] = sigma_yx, np.swapaxes(sigma_yx, -1, -2)
    f -= 0.5 * lam[..., None] * np.diag(signature(n_i, n_o))
    w, p = np.linalg.eigh(f)
    om = np.hypot(w, kappa)
    low = (kappa / om) * (kappa / (om + np.abs(w)))
    up, down = np.where(w > 0.0, low, 2.0 - low), np.where(w > 0.0, 2.0 - low, low)
    decay = np.exp(-om * t)
    twice_z = up + down * decay**2  # 2 z e^{-om t}
    h = -np.expm1(-2.0 * om * t) / (om * twice_z)
    k = np.swapaxes(p, -1, -2) @ q0
    unit = np.broadcast_to(np.eye(k.shape[-1]), (*k.shape[:-2], k.shape[-1], k.shape[-1]))
    r = np.linalg.qr(np.concatenate([unit, np.sqrt(h)[..., None] * k], axis=-2), mode="r")
    shrunk = (2.0 * decay / twice_z)[..., None] * k
    divided = np.swapaxes(np.linalg.solve(np.swapaxes(r, -1, -2), np.swapaxes(shrunk, -1, -2)), -1, -2)
    root = (kappa * np.sqrt(h))[..., None] * np.eye(n_i + n_o)
    return narrow(p @ np.concatenate([root, divided], axis=-1))


def _by_flow(task: Task, net: Network, t: float, tolerance: float) -> Carried:
    """Return weights by the integrated flow, in the hidden basis of the start, with its balance D."""
    settings = FlowSettings(EQUAL_RATES, (0.0, 0.0), tolerance, MAX_STEPS)
    q0 = np.concatenate([net.w1.T, net.w2])
    basis = np.eye(q0.shape[1])
    if q0.shape[1] > q0.shape[0]:  # the flow acts from the left, so that hidden directions off the rows stay
        basis, _ = np.linalg.qr(q0.T)
    start = q0 @ basis
    w1, w2 = np.ascontiguousarray(start[: task.n_i].T), np.ascontiguousarray(start[task.n_i :])
    finite = t if math.isfinite(t) else 0.0
    check_steps(task, w1, w2, finite, settings)
    path = integrated(task, w1, w2, np.array([0.0, finite]), settings)
    saddle = False
    if not math.isfinite(t):
        path = to_infinity(task, path, settings)
        saddle = ends_at_saddle(substitute(task, net, EQUAL_RATES))
    q = _with_balance_of(np.concatenate([path.w1[-1].T, path.w2[-1]]), start, task.n_i) @ basis.T
    return Carried(q[: task.n_i].T, q[task.n_i :], FLOW.name, saddle)


def _with_balance_of(q: Array, start: Array, n_i: int) -> Array:
    """Return Q with the balance D of the start, which the flow conserves and steps keep to their tolerance.

    ``W1 <- (I - X) W1``, ``W2 <- W2 (I + X)`` with ``X G + G X = D(0) - D`` and ``G = Q^T Q``.
    """
    j = signature(n_i, len(q) - n_i)[:, None]
    missing = q.T @ (j * q) - start.T @ (j * start)
    g, v = np.linalg.eigh(q.T @ q)
    sums = g[:, None] + g
    safe = sums > ROUNDING * g[-1]
    x = v @ np.where(safe, (v.T @ missing @ v) / np.where(safe, sums, 1.0), 0.0) @ v.T
    return np.asarray(q - (j * q) @ x)


def in_basis_of(q: Array, start: Array, n_i: int, kappa: float) -> Array:
    """Return the factor of QQ^T (N, H) with the balance D of the start that is nearest to the start.

    q (N, H or N) is any factor. Hidden directions in which the weights of the start are 0 stay 0.
    """
    rows, q = _row_space(start), narrow(q)
    if kappa == 0.0:
        return _nearest(q, start, rows)
    j = signature(n_i, len(q) - n_i)[:, None]
    here, there = np.linalg.eigh(q.T @ (j * q))[1], start @ rows
    turned = rows @ np.linalg.eigh(there.T @ (j * there))[1]
    # On these N directions -D has the eigenvalues -beta < 0 (N_o times) and alpha > 0 (N_i times).
    parts = slice(None, len(q) - n_i), slice(len(q) - n_i, None)
    return np.asarray(sum(_nearest(q @ here[:, part], start, turned[:, part]) for part in parts))


def _row_space(start: Array) -> Array:
    """Return an orthonormal basis (H, r) of the hidden directions of the start."""
    _, size, rows = np.linalg.svd(start, full_matrices=False)
    rank = int(np.count_nonzero(size > ROUNDING * size[0]))
    return np.asarray(rows[:rank].T)


def _nearest(q: Array, start: Array, rows: Array) -> Array:
    """Return the factor of q q^T with hidden directions in `rows` (H, r) that is nearest to the start."""
    left, size, _ = np.linalg.svd(q, full_matrices=False)
    columns = left[:, : rows.shape[1]] * size[: rows.shape[1]]
    a, _, b = np.linalg.svd(columns.T @ start @ rows)
    return np.asarray(columns @ (a @ b) @ rows.T)
