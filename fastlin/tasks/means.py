"""Means over samples, and when they are too large to be left in the data."""

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.tasks.moments import SecondMoments

LARGE_SHARE = 0.5
# Bound of the probability that data of mean zero have a share as large as theirs by chance.
CHANCE = 1e-6
# A loss floor below this part of tr Sigma_yy is negligible, and may be a sum of rounding errors.
LEAST_FLOOR = 1e-6


def large_means(x: Array, y: Array, moments: SecondMoments, sigma_yy_trace: float) -> list[str]:
    """Return a text for each of inputs and loss floor that consists of means for the most part.

    A mean of X is one direction of variance ``|mean|^2`` that hides all others. A mean of Y matters only
    where no linear map of X reaches it: it adds a constant to the loss floor, with which it is compared. If X
    has a row of ones, every mean of Y can be learned, and it adds nothing.
    """
    x_mean, y_mean, n_samples = x.mean(axis=1), y.mean(axis=1), x.shape[1]
    faults = []
    share = _share(float(np.sum(x_mean**2)), float(np.trace(moments.sigma_xx)))
    constant = share > 1.0 - LEAST_FLOOR  # centring would leave nothing to learn from
    if not constant and _is_large(share, n_samples - 1):
        faults.append(f"the mean of X is {share:.0%} of its second moment")
    share = floor_share(x_mean, y_mean, moments, sigma_yy_trace)
    if moments.rank > 0 and _is_large(share, n_samples - moments.rank - 1):
        faults.append(f"{share:.0%} of the loss floor is due to means")
    return faults


def floor_share(x_mean: Array, y_mean: Array, moments: SecondMoments, sigma_yy_trace: float) -> float:
    """Return the part of the loss floor that centring X and Y removes.

    ``|r|^2 / (1 - h) / (2 floor)``: r is the mean of the residuals of linear regression of Y on X without a
    constant, ``h = mean^T C^+ mean`` the leverage of the mean of X, which is 1 where X holds a constant.
    """
    target = moments.target
    whitened_mean = (moments.axes / np.sqrt(moments.variances)).T @ x_mean
    left = 1.0 - float(np.sum(whitened_mean**2))
    floor = sigma_yy_trace - float(np.sum(target**2))
    if left <= LEAST_FLOOR or floor <= LEAST_FLOOR * sigma_yy_trace:
        return 0.0
    residual = y_mean - target @ whitened_mean
    return _share(float(np.sum(residual**2)) / left, floor)


def _share(part: float, whole: float) -> float:
    return float(min(part / whole, 1.0)) if whole > 0 else 0.0


def _is_large(share: float, freedom: int) -> bool:
    """Tell whether a share is large, and too large for chance.

    For one normal feature of mean zero it follows Beta(1/2, freedom/2), whose tail beyond 1/2 is below
    ``(1 - share)^(freedom/2)``; with several features it is narrower. From 41 samples on, half is enough.
    """
    return share > LARGE_SHARE and freedom > 0 and (1.0 - share) ** (freedom / 2) < CHANCE
