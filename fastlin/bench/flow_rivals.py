"""The rivals of the flow: the same networks by SciPy, one at a time, and by diffrax, a stack at a time.

Both integrate the weights themselves, ``W1' = W2^T E`` and ``W2' = E W1^T`` with ``E = Sigma_yx - W2 W1``, by
methods of order 8 with control of the error.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from fastlin.bench.rivals import Array, Jax, Networks, observed


def scipy_flow(net: Networks, time: float, tolerance: float) -> Array:
    """Return loss and kernel distance (2,) of one network at a time, by DOP853 of SciPy."""
    (n_h, n_i), n_o = net.w1.shape, len(net.w2)
    split = n_h * n_i

    def derivative(_: float, q: Array) -> Array:
        w1, w2 = q[:split].reshape(n_h, n_i), q[split:].reshape(n_o, n_h)
        error = net.sigma - w2 @ w1
        return np.concatenate([(w2.T @ error).ravel(), (error @ w1.T).ravel()])

    start = np.concatenate([net.w1.ravel(), net.w2.ravel()])
    path = solve_ivp(derivative, (0.0, time), start, "DOP853", rtol=tolerance, atol=tolerance)
    q = path.y[:, -1]
    return np.stack(observed(net, q[:split].reshape(n_h, n_i), q[split:].reshape(n_o, n_h)))


def diffrax_flow(jax: Jax, net: Networks, time: float, tolerance: float) -> Array:
    """Return loss and kernel distance (B, 2) of a stack of networks at a time, by Dopri8 under vmap."""
    return jax.solve(net, _diffrax_flow, time, tolerance)


def _diffrax_flow(jax: Any, net: Networks, time: float, tolerance: float) -> Any:
    diffrax = import_module("diffrax")

    def derivative(_time: Any, weights: tuple[Any, Any], _: None) -> tuple[Any, Any]:
        w1, w2 = weights
        error = net.sigma - w2 @ w1
        return w2.T @ error, error @ w1.T

    path = diffrax.diffeqsolve(
        diffrax.ODETerm(derivative),
        diffrax.Dopri8(),
        t0=0.0,
        t1=time,
        dt0=None,
        y0=(net.w1, net.w2),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        max_steps=None,
        throw=False,  # results are compared instead, because a check of every step costs time
    )
    w1, w2 = (layer[-1] for layer in path.ys)
    return jax.numpy.stack(observed(net, w1, w2))
