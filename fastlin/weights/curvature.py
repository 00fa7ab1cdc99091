"""The curvature of the loss, which limits steps."""

from __future__ import annotations

import math

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.tasks.task import Task
from fastlin.weights.rates import Rates


def curvature(w1: Array, w2: Array, task: Task, rates: Rates, decay: tuple[float, float]) -> float:
    """Return a bound of the curvature of the loss in ``sqrt(eta2) W1, sqrt(eta1) W2``."""
    start = np.concatenate([math.sqrt(rates.second) * w1.T, math.sqrt(rates.first) * w2])
    bound = np.linalg.norm(task.sigma_xx, 2) * np.linalg.norm(start, 2) ** 2
    shrinkage = max(rate * part for rate, part in zip(rates, decay, strict=True))
    return float(bound + rates.unit * np.linalg.norm(task.sigma_yx, 2) + shrinkage)
