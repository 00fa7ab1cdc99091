"""Checks between entries of a spec that are right by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.sweeps.spec.faults import Faults

MAX_STEPS = 10**12


def has_learning_rate(solver: str) -> bool:
    """Tell whether a solver takes a learning rate."""
    return solver == "gradient_descent"


def settle_learning_rates(fields: dict[str, Any], faults: Faults) -> None:
    """Note learning rates that are missing or have no use, and drop a single one that has none."""
    if "solvers" not in fields or "learning_rates" not in fields:
        return
    used, given = any(map(has_learning_rate, fields["solvers"])), fields["learning_rates"].size > 0
    if used and not given:
        faults.add("dynamics.learning_rate is missing")
    elif fields["learning_rate_axis"] and not used:
        faults.add(
            "dynamics.learning_rate is an axis, but the closed form has none; "
            'add "gradient_descent" to dynamics.solver, or give one number'
        )
    elif not used:
        fields["learning_rates"] = np.empty(0)


def check_samples(n_samples: int, architectures: Sequence[Architecture], faults: Faults) -> None:
    """Note architectures with more inputs than samples, which cannot be whitened."""
    found = [(index, shape.n_i) for index, shape in enumerate(architectures) if shape.n_i > n_samples]
    # The first one is shown in full, so it is one with the most inputs.
    for index, n_i in sorted(found, key=lambda pair: -pair[1]):
        faults.add(
            f"task.n_samples is {n_samples}; whitening the N_i = {n_i} inputs of "
            f"axes.architecture[{index}] needs at least {n_i}",
            "task.n_samples",
            "axes.architecture",
            f"[{index}]",
        )


def check_steps(times: NDArray[np.float64], rates: NDArray[np.float64], faults: Faults) -> None:
    """Note times that gradient descent cannot record."""
    if np.isinf(times[-1]):
        faults.add("dynamics.times holds inf; gradient descent needs finite times, only exact has the limit")
        return
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
