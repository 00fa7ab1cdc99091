"""The exact solution QQ^T(t) at any time in O(1), in the eigenbasis of F (Eq 2, stably evaluated).

With K = P^T Q(0) in echelon form (see `echelon`) and ``A = I + K^T phi K``, ``phi = expm1(2wt) / (2w)``:
column h of A is scaled by exp(-growth_h t), A is never formed but factored as R^T R by a QR of
``[D; sqrt(phi) K D]``, and ``K(t) = exp(wt) K D R^-1``. All exponents are <= 0, so nothing overflows at
any t, and t = inf is the same formula with its limits put in.

Legend: N = N_i + N_o, H hidden columns, L lanes (lam, or a batch), T times, S seeds.
"""

import math

import numpy as np

from fastlin.kernels.balance import balanced_start
from fastlin.kernels.codes import Status
from fastlin.kernels.echelon import EPSILON, echelon
from fastlin.kernels.eigenbasis import eigen_system, from_eigenbasis, to_eigenbasis
from fastlin.kernels.jit import LANES, Array, Codes, Integers, jit
from fastlin.kernels.observables import observe, start_norms
from fastlin.kernels.problems import Problem


@jit
def _decay(rate: float, t: float, tie: float) -> float:
    """exp(rate t) for rate <= 0; at t = inf a rate within `tie` of 0 is 0, as the SVD cannot tell them."""
    if t == math.inf:
        return 1.0 if rate >= -tie else 0.0
    return math.exp(rate * t)


@jit
def _saturation(w: float, t: float) -> float:
    """phi exp(-2 max(w, 0) t) = -expm1(-2|w|t) / (2|w|), which is at most t and at most 1/(2|w|)."""
    rate = 2.0 * abs(w)
    if t == math.inf:
        return 1.0 / rate if rate > 0.0 else 1.0  # a direction at rest decays to 0: see evolve
    return -math.expm1(-rate * t) / rate if rate > 0.0 else t


@jit
def _scale(k: Array, w: Array, growth: Array, t: float, top: Array, stack: Array, out: Array) -> None:
    """Write D (diagonal of top), sqrt(phi) K D (stack) and exp(wt) K D (out)."""
    n, width, lanes = k.shape
    top[...] = 0.0
    for lane in range(lanes):
        tie = 8.0 * n * EPSILON * w[0, lane]
        for h in range(width):
            top[h, h, lane] = _decay(-growth[h, lane], t, 0.0)
        for i in range(n):
            rate = w[i, lane]
            root = math.sqrt(_saturation(rate, t))
            shrink = _decay(min(rate, 0.0), t, 0.0)
            if rate == 0.0 and t == math.inf:
                shrink = 0.0  # 1/sqrt(t), not exponential, but 0 in the end
            for h in range(width):
                relative = min(max(rate, 0.0) - growth[h, lane], 0.0)
                value = k[i, h, lane] * _decay(relative, t, tie)
                stack[i, h, lane] = root * value
                out[i, h, lane] = shrink * value


@jit
def _triangularise(top: Array, stack: Array, work: Array) -> None:
    """Householder QR of [top; stack], top upper triangular (H, H, L): leaves R in top, spends stack."""
    n, width, lanes = stack.shape
    head, factor, along = work[0], work[1], work[2]
    for j in range(width):
        head[:] = 0.0
        for i in range(n):
            for lane in range(lanes):
                head[lane] += stack[i, j, lane] ** 2
        for lane in range(lanes):
            # The diagonal is D >= 0, so adding the norm to it does not cancel.
            norm = math.sqrt(top[j, j, lane] ** 2 + head[lane])
            head[lane] = top[j, j, lane] + norm
            factor[lane] = 1.0 / (norm * head[lane])
            top[j, j, lane] = -norm
        for h in range(j + 1, width):
            along[:] = head * top[j, h]
            for i in range(n):
                for lane in range(lanes):
                    along[lane] += stack[i, j, lane] * stack[i, h, lane]
            for lane in range(lanes):
                along[lane] *= factor[lane]
                top[j, h, lane] -= along[lane] * head[lane]
            for i in range(n):
                for lane in range(lanes):
                    stack[i, h, lane] -= along[lane] * stack[i, j, lane]


@jit
def _divide(out: Array, top: Array) -> None:
    """out <- out R^-1 with R upper triangular in top."""
    n, width, lanes = out.shape
    for i in range(n):
        for h in range(width):
            for j in range(h):
                for lane in range(lanes):
                    out[i, h, lane] -= out[i, j, lane] * top[j, h, lane]
            for lane in range(lanes):
                out[i, h, lane] /= top[h, h, lane]


@jit
def evolve(k: Array, w: Array, growth: Array, t: float, scratch: Array, out: Array) -> None:
    """Write K(t) into out (N, H, L), for the echelon form k and any t in [0, inf].

    scratch (H + N + 3, H, L) with H >= 1.
    """
    n, width, _ = k.shape
    top, stack, work = scratch[:width], scratch[width : width + n], scratch[width + n :, 0]
    _scale(k, w, growth, t, top, stack, out)
    _triangularise(top, stack, work)
    _divide(out, top)


@jit
def solve(k: Array, w: Array, m: int, times: Array, out: Array) -> Array:
    """Closed form of a batch of networks: K = P^T Q(0), (N, H, L), becomes its echelon form.

    w (N, L), m = min(N_i, N_o), times (T,); writes out (T, N, H, L), QQ^T(t) = P out out^T P^T, and returns
    growth (H, L), by which the caller sees which directions the start can reach.
    """
    n, width, lanes = k.shape
    growth = np.empty((width, lanes))
    scratch = np.empty((width + n + 3, width, lanes))
    echelon(k, w, m, growth)
    for index in range(times.size):
        evolve(k, w, growth, times[index], scratch, out[index])
    return growth


@jit
def closed_form(
    problem: Problem, lam: Array, times: Array, rows: Integers, out: Array, status: Codes
) -> None:
    """Observables of the exact solution for a block: S seeds, all lam, all times.

    problem: `Problem` of S seeds; lam (L,); times (T,), any order, inf allowed; rows (R,) codes of `Row`.
    Writes out (S, R, T, L) and status (S, L).
    """
    n_i, n_o = problem.v.shape[1], problem.u.shape[1]
    n, m, width = n_i + n_o, problem.s.shape[1], max(problem.v.shape[2], problem.u.shape[2])
    for first in range(0, lam.size, LANES):
        lanes = min(LANES, lam.size - first)
        here = lam[first : first + lanes]
        s, cosine, sine = np.empty((m, lanes)), np.empty((m, lanes)), np.empty((m, lanes))
        w, growth = np.empty((n, lanes)), np.empty((width, lanes))
        k, moved, q0 = (
            np.empty((n, width, lanes)),
            np.empty((n, width, lanes)),
            np.empty((n, width, lanes)),
        )
        scratch = np.empty((width + n + 3, width, lanes))
        for seed in range(problem.s.shape[0]):
            for a in range(m):
                s[a, :] = problem.s[seed, a]
            eigen_system(s, here, n_i, n_o, w, cosine, sine)
            balanced_start(problem.u[seed], problem.p[seed], problem.v[seed], here, q0)
            to_eigenbasis(q0, cosine, sine, n_i, k)
            echelon(k, w, m, growth)
            # Q(0) in the rotated hidden space: kernel distances compare products of both.
            from_eigenbasis(k, cosine, sine, n_i, q0)
            norms = start_norms(q0, n_i)
            fine = status[seed, first : first + lanes]
            fine[:] = Status.OK
            for index in range(times.size):
                evolve(k, w, growth, times[index], scratch, moved)
                q = scratch[:n]
                from_eigenbasis(moved, cosine, sine, n_i, q)
                observe(
                    q,
                    q0,
                    norms,
                    s,
                    problem.floor[seed],
                    n_i,
                    False,
                    rows,
                    out[seed, :, index, first : first + lanes],
                    fine,
                )
