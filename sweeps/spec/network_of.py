"""The task and the network of one point of a sweep, as the functions for one network build them."""

from __future__ import annotations

import math
from typing import Any

from fastlin.architecture import Architecture
from fastlin.kernels import Problem
from fastlin.kernels.codes import Start
from fastlin.kernels.draws import WeightLaw
from fastlin.network import Network, draw_network
from fastlin.task import Task
from fastlin.task_kinds import TASK_KINDS


def task_and_network(
    task_kind: str,
    law: Problem,
    architecture: Architecture,
    seed: int,
    start: Start,
    lam: float,
    kappa: float,
    rate_ratio: float,
) -> tuple[Task, Network]:
    """Return the task of a seed, and its network: balanced to lam and kappa, or raw.

    Learning rates of the layers, in units of their geometric mean, are a part of the balance.
    """
    task = TASK_KINDS[task_kind].build(law.task, architecture, seed)
    if start != Start.RAW:
        root = math.sqrt(rate_ratio)
        rates = (1.0 / root, root)
        return task, draw_network(architecture, lam, seed, law, task, kappa, rates)
    weights: Any = law.start
    assert isinstance(weights, WeightLaw)
    w1, w2 = weights.weights(seed, architecture.sizes)
    return task, Network(law.init_scale * w1, law.init_scale * w2)
