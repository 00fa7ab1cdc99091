"""Plain-NumPy reference of networks beyond one-sided balance, as `tests.reference` is for the paper.

The flow of any weights, data, rates and decay is integrated by SciPy. Two-sided balance has a closed form.
It favours clarity over speed, and shares no code with the library.

Notation is that of `tests.reference`. ``J = diag(I, -I)`` has N_i and N_o entries. ``sigma_xx`` is X X^T / P
(N_i, N_i), ``rates`` are those of (W1, W2), and ``decay`` is multiplied by the rate of its layer. Weights
are balanced on two sides if ``Q (D - lam I) Q^T = -kappa^2 J``. Then QQ^T obeys ``M' = F M + M F - M^2 +
kappa^2 I``, with F as for one-sided balance, which is the case kappa = 0.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from tests import reference

# ---------------------------------------------------------------- the flow of any network


def velocity(sigma_yx, w1, w2, sigma_xx=None, rates=(1.0, 1.0), decay=(0.0, 0.0)):
    """Return (dW1/dt, dW2/dt): each rate times the gradient less the decay of its layer."""
    product = w2 @ w1
    error = sigma_yx - (product if sigma_xx is None else product @ sigma_xx)
    return rates[0] * (w2.T @ error - decay[0] * w1), rates[1] * (error @ w1.T - decay[1] * w2)


def flow(sigma_yx, w1, w2, times, sigma_xx=None, rates=(1.0, 1.0), decay=(0.0, 0.0)):
    """Integrate the gradient flow by DOP853: the list of (w1, w2) at ascending, finite times."""

    def pair(flat):
        return flat[: w1.size].reshape(w1.shape), flat[w1.size :].reshape(w2.shape)

    def slope(_, flat):
        parts = velocity(sigma_yx, *pair(flat), sigma_xx, rates, decay)
        return np.concatenate([part.ravel() for part in parts])

    start = np.concatenate([w1.ravel(), w2.ravel()])
    span = (0.0, max(*times, 1e-3))
    run = solve_ivp(slope, span, start, "DOP853", t_eval=times, rtol=1e-13, atol=1e-15)
    return [pair(state) for state in run.y.T]


def flow_qqt(*arguments):
    """Return QQ^T (T, N, N) of `flow`."""
    return np.array([reference.qqt(*pair) for pair in flow(*arguments)])


# ---------------------------------------------------------------- two-sided balance


def signs(n_i, n_o):
    """Return J (N, N), which is 1 for inputs and -1 for outputs."""
    return np.diag([1.0] * n_i + [-1.0] * n_o)


def two_sided_weights(u, p, v, lam, kappa, n_h, rotation):
    """Return weights (w1 (n_h, N_i), w2 (N_o, n_h)) of two-sided balance whose product is u diag(p) v^T.

    ``u``, ``p``, ``v``, ``rotation`` are those of `reference.balanced_weights`, kappa > 0 and n_h >= N. Each
    mode has the block ``[[om - lam/2, p], [p, om + lam/2]]`` of QQ^T, with ``om^2 = p^2 + lam^2/4 +
    kappa^2``. Its determinant is kappa^2, so that its Cholesky factor has two hidden directions.
    """
    n_o, n_i, m = len(u), len(v), len(p)
    half = math.hypot(lam / 2, kappa)
    first, second = np.zeros((n_i, n_h)), np.zeros((n_o, n_h))  # W1^T and W2 in the basis (v, u)
    for i in range(m):
        om = math.hypot(p[i], half)
        first[i, i] = math.sqrt(om - lam / 2)
        second[i, i], second[i, m + i] = p[i] / first[i, i], kappa / first[i, i]
    for i in range(m, n_i):
        first[i, m + i] = math.sqrt(half - lam / 2)
    for i in range(m, n_o):
        second[i, m + i] = math.sqrt(half + lam / 2)
    return rotation @ (v @ first).T, u @ second @ rotation.T


def random_two_sided(rng, n_i, n_h, n_o, lam, kappa, init_scale=1.0):
    """Return weights of two-sided balance with the product of raw Gaussian weights, as `random_balanced`."""
    raw1, raw2 = (init_scale * rng.standard_normal(shape) for shape in [(n_h, n_i), (n_o, n_h)])
    u, p, vt = np.linalg.svd(raw2 @ raw1 / math.sqrt(n_h))
    rotation = np.linalg.qr(rng.standard_normal((n_h, n_h)))[0]
    return two_sided_weights(u, p, vt.T, lam, kappa, n_h, rotation)


def two_sided(sigma_yx, w1, w2, lam, kappa, t):
    """Return QQ^T (N, N) of two-sided balance, kappa > 0, at any time, inf included.

    With w, P of F, ``om = hypot(w, kappa)``, ``z = cosh(om t) - (w/om) sinh(om t)``, ``h = sinh(om t) / (om
    z)`` and K = P^T Q(0): ``P {kappa^2 diag(h) + (K/z) (I + K^T diag(h) K)^-1 (K/z)^T} P^T``. The fractions
    are multiplied by e^{-om t}, so that nothing overflows.
    """
    w, p = reference.eigen_system(sigma_yx, lam)
    om = np.hypot(w, kappa)
    small = kappa**2 / (om * (om + abs(w)))  # 1 - |w| / om without cancellation
    up, down = np.where(w > 0, small, 2 - small), np.where(w > 0, 2 - small, small)
    z = (up + down * np.exp(-2 * om * t)) / 2  # z e^{-om t}
    h = -np.expm1(-2 * om * t) / (2 * om * z)
    k = p.T @ np.vstack([w1.T, w2])
    k_t = (np.exp(-om * t) / z)[:, None] * k
    inverted = np.linalg.solve(np.eye(k.shape[1]) + k.T @ (h[:, None] * k), k_t.T)
    return p @ (np.diag(kappa**2 * h) + k_t @ inverted) @ p.T


def residual(qqt, lam, kappa, n_i):
    """Return |Q (D - lam I) Q^T + kappa^2 J| / |Q|^4, which needs QQ^T alone: ``Q D Q^T = -M J M``."""
    j = signs(n_i, len(qqt) - n_i)
    return np.linalg.norm(qqt @ j @ qqt + lam * qqt - kappa**2 * j) / np.trace(qqt) ** 2


class Fit(NamedTuple):
    """The nearest two-sided balance of weights, and `residual` there."""

    lam: float
    kappa: float
    residual: float


def fit(w1, w2):
    """Return the least squares of ``Q D Q^T = lam QQ^T - kappa^2 J`` over lam and kappa^2 >= 0.

    Without N_i + N_o hidden units no weights have kappa > 0, and lam alone is fitted.
    """
    n_i, n_h = w1.shape[1], len(w1)
    qqt = reference.qqt(w1, w2)
    j = signs(n_i, len(w2))
    wanted = -(qqt @ j @ qqt).ravel()
    lam, square = np.linalg.lstsq(np.array([qqt.ravel(), -j.ravel()]).T, wanted, rcond=None)[0]
    if square < 0 or n_h < len(qqt):
        lam, square = wanted @ qqt.ravel() / np.sum(qqt**2), 0.0
    return Fit(lam, math.sqrt(square), residual(qqt, lam, math.sqrt(square), n_i))
