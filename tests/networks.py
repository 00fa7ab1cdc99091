"""Networks that the tests share: architectures of every class, random networks, literal observables."""

import numpy as np
from hypothesis import strategies as st

import fastlin as fl
from fastlin.kernels import Problem
from fastlin.kernels.draws import RegressionTask
from fastlin.kinds.initialisation import INIT_KINDS
from fastlin.observables.registry import REGISTRY
from tests import reference

CLASSES = {
    "funnel": (4, 2, 2),
    "inverted funnel": (2, 2, 4),
    "square": (4, 4, 4),
    "bottleneck": (4, 2, 4),
    "narrow unequal bottleneck": (5, 2, 3),
    "wide": (3, 8, 3),
    "wide, unequal": (3, 8, 5),
    "between, more outputs": (2, 3, 4),
    "between, more inputs": (5, 3, 2),
    "scalar": (1, 1, 1),
    "scalar, wide": (1, 4, 1),
    "one hidden unit": (6, 1, 6),
}
OVER_TIME = [name for name, entry in REGISTRY.items() if entry.over_time]


def problem(kind, n_samples, target_scale, init_scale):
    """Return the `Problem` of random regression and a kind of initialisation, as `draw_records` takes it."""
    return Problem(RegressionTask(n_samples, target_scale), INIT_KINDS[kind].law(n_samples), init_scale)


def draw(n_i, n_h, n_o, lam, init_scale=1.0, seed=0):
    """Return sigma_yx (N_o, N_i) and lam-balanced w1, w2 that are not aligned with it."""
    rng = np.random.default_rng([seed, n_i, n_h, n_o])
    sigma_yx = rng.standard_normal((n_o, n_i))
    w1, w2 = reference.random_balanced(rng, n_i, n_h, n_o, lam, init_scale)
    return sigma_yx, w1, w2


@st.composite
def networks(draw_value, max_size=5):
    """Draw (sigma_yx, w1, w2, lam) of any architecture."""
    sizes = st.integers(1, max_size)
    n_i, n_h, n_o = (draw_value(sizes) for _ in range(3))
    # A start at a distance of lam from a saddle's inset is left out for tiny lam that is not 0: the rounding
    # of its weights, divided by lam, would decide the time of escape.
    lam = draw_value(st.just(0.0) | st.floats(1e-3, 10) | st.floats(-10, -1e-3))
    scale = draw_value(st.sampled_from([0.1, 1.0, 2.0]))
    return (*draw(n_i, n_h, n_o, lam, scale, draw_value(st.integers(0, 10**6))), lam)


def point(shape=(4, 2, 3), lam=-1.0, seed=0, samples=9):
    """Return a random task and a balanced network."""
    arch = fl.Architecture(*shape)
    return fl.random_regression(arch, samples, 3**0.5, seed), fl.balanced_init(arch, lam, seed=seed)


def literal(task, start, w1, w2, rates=(1.0, 1.0)):
    """Return every observable by its definition, with the NTK as a dense matrix.

    The NTK and the balance are those of ``sqrt(e2) W1, sqrt(e1) W2`` at relative rates (e1, e2).
    """
    x, y = task.X, task.Y
    first, second = np.sqrt(rates[1]), np.sqrt(rates[0])
    driving, driving0 = (first * w1, second * w2), (first * start[0], second * start[1])
    dense, dense0 = reference.ntk(*driving, x), reference.ntk(*driving0, x)
    n_o, p = y.shape
    drift = reference.balance(*driving) - reference.balance(*driving0)
    return {
        "loss": 0.5 * np.sum((y - w2 @ w1 @ x) ** 2) / p,
        "kernel_distance": reference.kernel_distance(dense0, dense),
        "ntk_norm": np.linalg.norm(dense) / p,
        "weight_norms": [np.linalg.norm(w1), np.linalg.norm(w2)],
        "balance_drift": np.linalg.norm(drift),
        "effective_rank": reference.effective_rank(w2 @ w1),
        "w2w1": w2 @ w1,
        "w1tw1": w1.T @ w1,
        "w2w2t": w2 @ w2.T,
        "qqt": reference.qqt(w1, w2),
        "network_function": w2 @ w1 @ x,
        "rsm_input": reference.rsm_input(w1, x),
        "rsm_output": reference.rsm_output(w2, y),
        "ntk": dense.reshape(n_o, p, n_o, p),
    }


def relative(actual, expected):
    """Return the largest deviation, relative to the largest expected entry (to 1 where that is 0)."""
    return np.abs(np.asarray(actual) - expected).max() / (np.abs(expected).max() or 1.0)
