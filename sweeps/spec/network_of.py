"""The task and the network of one point of a sweep, as the functions for one network build them."""

from __future__ import annotations

from fastlin.architecture import Architecture
from fastlin.kernels import Problem
from fastlin.kernels.codes import Start
from fastlin.kernels.draws import WeightLaw
from fastlin.kinds.sequence_law import SequenceLaw
from fastlin.kinds.starts import draw_network, draw_raw_network
from fastlin.kinds.task_kinds import TASK_KINDS
from fastlin.networks.low_rank import AdapterStart
from fastlin.networks.network import Network
from fastlin.tasks.task import Task
from fastlin.weights.rates import EQUAL_RATES, Rates


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
    """Return the task of a seed, and its network: balanced to lam and kappa, raw, or an adapter.

    Learning rates of the layers, in units of their geometric mean, are a part of the balance.
    """
    task = TASK_KINDS[task_kind].build(law.task, architecture, seed)
    rates = Rates.of_ratio(rate_ratio)
    if isinstance(law.start, AdapterStart):
        return law.start.tuned(task, architecture, seed, law.init_scale, rates)
    return task, _network(law, architecture, seed, start, lam, kappa, rates, task)


def stages_and_network(
    law: Problem, architecture: Architecture, seed: int, start: Start, lam: float, kappa: float
) -> tuple[list[tuple[Task, float]], Network]:
    """Return the tasks of a seed with their durations, and its network, as `fastlin.sequence` takes them."""
    assert isinstance(law.task, SequenceLaw)
    tasks = law.task.tasks(architecture, seed)
    stages = [(task, stage.duration) for task, stage in zip(tasks, law.task.stages, strict=True)]
    return stages, _network(law, architecture, seed, start, lam, kappa, EQUAL_RATES, tasks[0])


def _network(
    law: Problem,
    architecture: Architecture,
    seed: int,
    start: Start,
    lam: float,
    kappa: float,
    rates: Rates,
    task: Task,
) -> Network:
    if start != Start.RAW:
        return draw_network(architecture, lam, seed, law, task, kappa, rates)
    assert isinstance(law.start, WeightLaw)
    return draw_raw_network(architecture, seed, law.start, law.init_scale)
