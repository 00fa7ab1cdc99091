"""The flow of one network on its weights, for any start, any inputs, layer-wise rates and decay.

``W1' = e1 (W2^T E - g1 W1)``, ``W2' = e2 (E W1^T - g2 W2)``, ``E = Sigma_yx - W2 W1 Sigma_xx``, by DOP853
with control of the error (see `dormand_prince`).
"""

from typing import NamedTuple

import numpy as np

from fastlin.kernels.batch import FlowControl
from fastlin.kernels.blas.routines import flush_denormals, restore_denormals
from fastlin.kernels.codes import Status
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.jit import Array, jit
from fastlin.kernels.dormand_prince import Progress, begin, progress, stepper


class WeightPath(NamedTuple):
    """The weights of one network at T times."""

    path1: Array  # (T, N_h, N_i), NaN from time `reached` on
    path2: Array  # (T, N_o, N_h)
    steps: int  # accepted steps
    reached: int  # number of times that were reached


class _Weights(NamedTuple):
    """The task and the rates of one network, and memory for its derivative."""

    sigma_yx: Array  # (N_o, N_i)
    sigma_xx: Array  # (N_i, N_i), or (0, 0) for whitened inputs
    rates: tuple[float, float]
    decay: tuple[float, float]
    error: Array  # (N_o, N_i)
    product: Array  # (N_o, N_i)


@callee
def _derivative(problem: _Weights, state: Array, out: Array) -> None:
    """Write the derivative of the weights, W1 and then W2, to `out`."""
    n_o, n_i = problem.sigma_yx.shape
    n_h = state.size // (n_i + n_o)
    end = n_h * n_i
    w1, w2 = state[:end].reshape(n_h, n_i), state[end:].reshape(n_o, n_h)
    out1, out2 = out[:end].reshape(n_h, n_i), out[end:].reshape(n_o, n_h)
    error = problem.error
    np.dot(w2, w1, error)
    if problem.sigma_xx.size:
        problem.product[:] = error
        np.dot(problem.product, problem.sigma_xx, error)
    for o in range(n_o):
        for i in range(n_i):
            error[o, i] = problem.sigma_yx[o, i] - error[o, i]
    np.dot(w2.T, error, out1)
    np.dot(error, w1.T, out2)
    for layer, (rate, decay) in enumerate(zip(problem.rates, problem.decay)):  # noqa: B905 (Numba has no strict)
        for place in range(layer * end, state.size if layer else end):
            out[place] = rate * (out[place] - decay * state[place])


_reach = stepper(_derivative)


@jit
def _integrate(
    problem: _Weights,
    run: Progress,
    curvature: float,
    times: Array,
    control: FlowControl,
    path1: Array,
    path2: Array,
) -> int:
    """Write the weights at all times. Return the number of times that were reached."""
    begin(run, curvature)
    end, reached = path1[0].size, 0
    before = flush_denormals()  # weights in directions that the task does not have decay to 0
    while reached < times.size and _reach(problem, run, times[reached], control) == Status.OK:
        path1[reached].ravel()[:] = run.state[:end]
        path2[reached].ravel()[:] = run.state[end:]
        reached += 1
    restore_denormals(before)
    return reached


def integrate(
    w1: Array,
    w2: Array,
    sigma_yx: Array,
    sigma_xx: Array | None,
    rates: tuple[float, float],
    decay: tuple[float, float],
    times: Array,
    tolerance: float,
    max_steps: int,
) -> WeightPath:
    """Integrate the flow of one network from t = 0.

    Parameters
    ----------
    w1 : ndarray, shape (N_h, N_i)
    w2 : ndarray, shape (N_o, N_h)
    sigma_yx : ndarray, shape (N_o, N_i)
    sigma_xx : ndarray, shape (N_i, N_i), or None
        None for whitened inputs.
    rates : tuple of float
        Learning rates (e1, e2) of both layers.
    decay : tuple of float
        Weight decay (g1, g2), which the rate of its layer multiplies.
    times : ndarray, shape (T,)
        Ascending and finite. Steps end at these times.
    tolerance : float
        Largest error of a step, relative to the norm of all weights.
    max_steps : int
        Largest number of steps, repeated ones included.
    """
    n_o, n_i = sigma_yx.shape
    run = progress(w1.size + w2.size)
    run.state[: w1.size], run.state[w1.size :] = w1.ravel(), w2.ravel()
    sigma_xx = np.empty((0, 0)) if sigma_xx is None else np.ascontiguousarray(sigma_xx, dtype=np.float64)
    e1, e2 = (float(rate) for rate in rates)
    g1, g2 = (float(each) for each in decay)
    problem = _Weights(
        np.ascontiguousarray(sigma_yx, dtype=np.float64),
        sigma_xx,
        (e1, e2),
        (g1, g2),
        np.empty((n_o, n_i)),
        np.empty((n_o, n_i)),
    )
    start = curvature(w1, w2, sigma_yx, sigma_xx, (e1, e2), (g1, g2))
    path1, path2 = np.full((times.size, *w1.shape), np.nan), np.full((times.size, *w2.shape), np.nan)
    control = FlowControl(float(tolerance), int(max_steps))
    reached = _integrate(problem, run, start, np.asarray(times, dtype=np.float64), control, path1, path2)
    return WeightPath(path1, path2, int(run.counts[1]), reached)


def curvature(
    w1: Array,
    w2: Array,
    sigma_yx: Array,
    sigma_xx: Array,
    rates: tuple[float, float],
    decay: tuple[float, float],
) -> float:
    """Return the rate at which weights change at the start: |Q|^2 and s_1, scaled by inputs and rates."""
    e1, e2 = rates
    inputs = np.linalg.norm(sigma_xx, 2) if sigma_xx.size else 1.0
    size = inputs * (e2 * np.vdot(w1, w1) + e1 * np.vdot(w2, w2))
    target = np.sqrt(e1 * e2) * np.linalg.norm(sigma_yx, 2)
    return float(size + target + e1 * decay[0] + e2 * decay[1])
