"""Networks that the tests share: one architecture of every class, and random balanced networks."""

import numpy as np
from hypothesis import strategies as st

from fastlin.initialisation import INIT_KINDS
from fastlin.kernels import Problem
from fastlin.kernels.draws import RegressionTask
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


def relative(actual, expected):
    """Return the largest deviation, relative to the largest expected entry (to 1 where that is 0)."""
    return np.abs(np.asarray(actual) - expected).max() / (np.abs(expected).max() or 1.0)
