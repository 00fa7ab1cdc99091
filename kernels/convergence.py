"""Times of convergence of many networks with given starts."""

import numpy as np

from fastlin.kernels.blas import time_scales, two_sided_dynamics
from fastlin.kernels.codes import Scale
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.sizes import UnreducedSizes


def convergence_times(
    sizes: UnreducedSizes, lams: Array, kappa: float, s: Array, q0: Array, fraction: float
) -> Array:
    """Return the times of convergence (P,) of networks: lams (P,), s (P, m), q0 (P, n, width).

    The starts are in the SVD bases of their targets. With kappa > 0 the width is n.
    """
    if kappa > 0.0:
        networks = zip(lams.tolist(), s, q0, strict=True)
        find = two_sided_dynamics.convergence_of
        return np.array([find(sizes, lam, kappa, each, start, fraction) for lam, each, start in networks])
    return time_scales.scales_of(sizes, lams, s, q0, fraction, np.array([Scale.CONVERGENCE]))[:, 0]
