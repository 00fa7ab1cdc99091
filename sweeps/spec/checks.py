"""Checks between entries of a spec that are right by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.parameters import Choice
from fastlin.solvers import SOLVERS
from fastlin.sweeps.spec.faults import Faults
from fastlin.task_kinds import TaskKind

MAX_STEPS = 10**12


def settle_learning_rates(fields: dict[str, Any], faults: Faults) -> None:
    """Note learning rates that are missing or have no use, and drop a single one that has none."""
    if "solvers" not in fields or "learning_rates" not in fields:
        return
    solvers = fields["solvers"]
    used, given = any(SOLVERS[name].learning_rate for name in solvers), fields["learning_rates"].size > 0
    if used and not given:
        faults.add("dynamics.learning_rate is missing")
    elif fields["learning_rate_axis"] and not used:
        rated = " or ".join(repr(solver.name) for solver in SOLVERS.values() if solver.learning_rate)
        faults.add(
            f"dynamics.learning_rate is an axis, but {' and '.join(solvers)} has none; "
            f"add {rated} to dynamics.solver, or give one number"
        )
    elif not used:
        fields["learning_rates"] = np.empty(0)


def check_task(task: Choice[TaskKind], architectures: Sequence[Architecture], faults: Faults) -> None:
    """Note architectures for which no task can be drawn."""
    law = task.kind.law(**task.values)
    # The first fault is shown in full, so that it is one with the most inputs.
    for index, shape in sorted(enumerate(architectures), key=lambda item: -item[1].n_i):
        if obstacle := task.kind.obstacle(law, shape.n_i):
            where = f"axes.architecture[{index}]"
            faults.add(f"{where} is {shape}; {obstacle}", "task", "axes.architecture", f"[{index}]")


def check_finite(solvers: Sequence[str], times: NDArray[np.float64], faults: Faults) -> bool:
    """Note an infinite time of a solver with finite times only, and return whether there is none."""
    finite = [SOLVERS[name].label for name in solvers if SOLVERS[name].finite_times]
    if finite and np.isinf(times[-1]):
        faults.add(f"dynamics.times holds inf; {finite[0]} needs finite times, only exact has the limit")
        return False
    return True


def check_steps(times: NDArray[np.float64], rates: NDArray[np.float64], faults: Faults) -> None:
    """Note times that cannot be recorded at the steps of some learning rates."""
    for rate in rates.tolist():
        _check_steps(times, rate, faults)


def _check_steps(times: NDArray[np.float64], rate: float, faults: Faults) -> None:
    """Note times that are too many steps, or that share a step with another time, at one learning rate."""
    with np.errstate(over="ignore"):
        steps = np.rint(times / rate)
    where = ("dynamics.learning_rate ", f"{rate:g}")
    if steps[-1] > MAX_STEPS:
        faults.add(
            f"dynamics.times ends after {steps[-1]:.0e} steps of learning_rate {rate:g}; "
            f"at most {MAX_STEPS:.0e} are allowed",
            "too many steps",
            *where,
        )
        return
    same = np.flatnonzero(np.diff(steps, prepend=0 if times[0] > 0 else -1) == 0)
    if same.size:
        faults.add(
            f"dynamics.times: {times[same[0]]:g} is no step of its own at learning_rate {rate:g}; "
            "gradient descent is recorded at whole steps, so leave times further apart, or lower the rate",
            "shared steps",
            *where,
        )
