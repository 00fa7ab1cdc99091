"""Gradient descent, in the SVD basis of the task (sweeps) and on the weights themselves (one network).

`W1 += eta W2^T E`, `W2 += eta E W1^T` from the old weights, `E = Sigma_yx - W2 W1 Sigma_xx`.
Legend: N = N_i + N_o, H hidden columns, L lanes (lam), T recorded steps, S seeds.
"""

import math

import numpy as np

from fastlin.kernels.balance import balanced_start
from fastlin.kernels.codes import Status
from fastlin.kernels.jit import LANES, Array, Codes, Integers, jit
from fastlin.kernels.observables import observe, start_norms
from fastlin.kernels.problems import Problem

# Descent keeps |Q|^2 within a few times its start and the target; this far above, cubic growth has
# taken over.
BLOW_UP = 1e4


@jit
def _scaled_gram(q: Array, first: int, last: int, rate: float, gram: Array) -> None:
    """gram (H, H, L) = rate * Q^T Q over rows first..last-1."""
    _, width, lanes = q.shape
    for h in range(width):
        for g in range(h + 1):
            gram[h, g] = 0.0
            for i in range(first, last):
                for lane in range(lanes):
                    gram[h, g, lane] += q[i, h, lane] * q[i, g, lane]
            for lane in range(lanes):
                gram[h, g, lane] *= rate
            gram[g, h] = gram[h, g]


@jit
def _half_step(
    q: Array, s: Array, rate: float, first: int, last: int, other: int, gram: Array, new: Array
) -> None:
    """new = Q + rate S Q_other - Q gram, for the rows first..last-1 of one layer."""
    _, width, lanes = q.shape
    for i in range(first, last):
        a = i - first
        for h in range(width):
            new[i, h] = q[i, h]
            if a < s.shape[0]:
                for lane in range(lanes):
                    new[i, h, lane] += rate * s[a, lane] * q[other + a, h, lane]
            for g in range(width):
                for lane in range(lanes):
                    new[i, h, lane] -= q[i, g, lane] * gram[g, h, lane]


@jit
def gram_step(q: Array, s: Array, rate: float, n_i: int, gram: Array, new: Array) -> None:
    """One step of all lanes, O(H^2 N): q (N, H, L), s (m, L) diagonal target, scratch gram (H, H, L)."""
    n = q.shape[0]
    _scaled_gram(q, n_i, n, rate, gram)
    _half_step(q, s, rate, 0, n_i, n_i, gram, new)
    _scaled_gram(q, 0, n_i, rate, gram)
    _half_step(q, s, rate, n_i, n, 0, gram, new)


@jit
def _mark_diverged(q: Array, bound: Array, status: Codes) -> None:
    """Set DIVERGED where |Q|^2 is not finite or beyond its bound (L,)."""
    for lane in range(status.size):
        total = 0.0
        for i in range(q.shape[0]):
            for h in range(q.shape[1]):
                total += q[i, h, lane] ** 2
        if not total <= bound[lane]:
            status[lane] = Status.DIVERGED


@jit
def gradient_descent(
    problem: Problem,
    lam: Array,
    learning_rate: float,
    steps: Integers,
    rows: Integers,
    out: Array,
    status: Codes,
) -> None:
    """Observables of gradient descent for a block: S seeds, all lam, recorded after each of `steps`.

    problem: `Problem` of S seeds; lam (L,); steps (T,) ascending; rows (R,) codes of `Row`.
    Writes out (S, R, T, L), NaN from the first recorded step at which a run has diverged, and
    status (S, L).
    """
    n_i, n_o = problem.v.shape[1], problem.u.shape[1]
    n, m, width = n_i + n_o, problem.s.shape[1], max(problem.v.shape[2], problem.u.shape[2])
    for first in range(0, lam.size, LANES):
        lanes = min(LANES, lam.size - first)
        here = lam[first : first + lanes]
        s, bound = np.empty((m, lanes)), np.empty(lanes)
        q0, q = np.empty((n, width, lanes)), np.empty((n, width, lanes))
        new, gram = np.empty((n, width, lanes)), np.empty((width, width, lanes))
        for seed in range(problem.s.shape[0]):
            for a in range(m):
                s[a, :] = problem.s[seed, a]
            balanced_start(problem.u[seed], problem.p[seed], problem.v[seed], here, q0)
            norms = start_norms(q0, n_i)
            bound[:] = BLOW_UP * (norms[2] + problem.s[seed].sum())
            q[...] = q0
            fine = status[seed, first : first + lanes]
            fine[:] = Status.OK
            step = 0
            for index in range(steps.size):
                while step < steps[index]:
                    gram_step(q, s, learning_rate, n_i, gram, new)
                    q, new = new, q
                    step += 1
                _mark_diverged(q, bound, fine)
                target = out[seed, :, index, first : first + lanes]
                observe(q, q0, norms, s, problem.floor[seed], n_i, True, rows, target, fine)
                for lane in range(lanes):
                    if fine[lane] == Status.DIVERGED:
                        target[:, lane] = math.nan


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
    """Gradient descent of one network on its weights, for any inputs.

    w1 (N_h, N_i) and w2 (N_o, N_h), overwritten; sigma_xx (N_i, N_i), or None for whitened inputs;
    steps (T,) ascending. Writes path1 (T, N_h, N_i) and path2 (T, N_o, N_h).
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
