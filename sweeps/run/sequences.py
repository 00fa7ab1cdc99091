"""Groups of points that learn several tasks in a row.

Networks with whitened inputs are evaluated together, by the closed form. All others are evaluated one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Status
from fastlin.kinds.sequence_law import SequenceLaw
from fastlin.kinds.starts import balanced_starts
from fastlin.solutions.sequence import sequence
from fastlin.solutions.white_sequence import WhiteStages, evaluate
from fastlin.solvers import SOLVERS
from fastlin.sweeps.spec.group import Group, Own
from fastlin.sweeps.spec.network_of import stages_and_network

Values = dict[str, NDArray[Any]]

NUMBERS = 20_000_000  # entries of QQ^T over time that are held at once


def values(group: Group) -> tuple[Values, NDArray[np.uint8]]:
    """Return the observables of a group, (S, L, ...), and the status (S, L) of its points."""
    if any(own is not None for own in group.own):
        return _by_column(group)
    law = group.problem.task
    assert isinstance(law, SequenceLaw)
    together = law.white and SOLVERS[group.solver].balanced
    parts = list(_white(group, law) if together else _one_by_one(group))
    found = {name: np.concatenate([part[name] for part in parts]) for name in group.observables}
    return {name: part.astype(group.dtype) for name, part in found.items()}, _status(group, law, found)


def _by_column(group: Group) -> tuple[Values, NDArray[np.uint8]]:
    """Return the values and the status of a group whose columns have values of their own."""
    parts = [values(_column(group, column)) for column in range(group.lams.size)]
    found = {name: np.concatenate([part[name] for part, _ in parts], axis=1) for name in group.observables}
    return found, np.concatenate([status for _, status in parts], axis=1)


def _column(group: Group, column: int) -> Group:
    """Return one column of a group, as a group whose points share what is its own."""
    part = group.part(slice(None), [column])
    at = part.point_values
    return replace(
        part,
        problem=replace(part.problem, init_scale=float(at.init_scales[0])),
        settings=part.settings._replace(kappa=float(at.kappas[0])),
        seeds=at.seeds,
        own=Own(),
    )


def _status(group: Group, law: SequenceLaw, found: Values) -> NDArray[np.uint8]:
    """Return the status (S, L): failed where a number over time is not finite within its stage."""
    failed = np.zeros((group.seeds.size, group.lams.size), dtype=bool)
    for name in group.observables:
        if group.entry(name).over_time:
            part = np.moveaxis(found[name], 2, -1)  # (S, L, stage, ..., T)
            for k, stage in enumerate(law.stages):
                numbers = part[:, :, k][..., group.times <= stage.duration]
                failed |= ~np.isfinite(numbers).reshape(*failed.shape, -1).all(axis=-1)
    return np.where(failed, Status.FAILED, Status.OK).astype(np.uint8)


def _white(group: Group, law: SequenceLaw) -> Iterator[Values]:
    """Yield the observables of some seeds at a time."""
    shape, lams = group.architecture, np.array(group.lams)
    each = lams.size * (group.times.size + 1) * shape.sizes.units**2
    step = max(1, NUMBERS // each)
    for first in range(0, group.seeds.size, step):
        seeds = group.seeds[first : first + step].tolist()
        tasks = [law.tasks(shape, seed) for seed in seeds]
        q0 = [
            balanced_starts(shape, lams, seed, group.problem, own[0], group.settings.kappa)
            for seed, own in zip(seeds, tasks, strict=True)
        ]
        targets = np.array([[task.sigma_yx for task in own] for own in tasks])
        floors = np.array([[task.loss_floor for task in own] for own in tasks])
        stages = WhiteStages(
            task=tasks[0][0],
            targets=np.repeat(targets, lams.size, axis=0),
            floors=np.repeat(floors, lams.size, axis=0),
            durations=np.array([stage.duration for stage in law.stages]),
            q0=np.concatenate(q0),
            lam=np.tile(lams, len(seeds)),
            kappa=group.settings.kappa,
            n_h=shape.n_h,
        )
        found = evaluate(stages, np.array(group.times), group.observables, group.fraction)
        yield {name: part.reshape(len(seeds), lams.size, *part.shape[1:]) for name, part in found.items()}


def _one_by_one(group: Group) -> Iterator[Values]:
    """Yield the observables of one seed after the other."""
    names = [name for name in group.observables if group.entry(name).over_time]
    for seed in group.seeds.tolist():
        points = []
        for lam in group.lams.tolist():
            stages, net = stages_and_network(
                group.problem, group.architecture, seed, group.settings.start, lam, group.settings.kappa
            )
            tolerance = group.settings.control.tolerance
            dataset = sequence(stages, net, group.times, names, group.fraction, tolerance=tolerance)
            points.append(
                {name: _behind_time(dataset[name].values, name in names) for name in group.observables}
            )
        yield {name: np.array([[point[name] for point in points]]) for name in group.observables}


def _behind_time(part: NDArray[Any], over_time: bool) -> NDArray[Any]:
    """Return (stage, T, ...) as (T, stage, ...)."""
    return np.swapaxes(part, 0, 1) if over_time else part
