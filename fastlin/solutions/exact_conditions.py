"""The conditions under which the closed form of the flow holds, and which observables it has."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastlin.errors import InputError
from fastlin.kernels import Scale
from fastlin.observables.registry import Observable
from fastlin.weights.balance import Balance
from fastlin.weights.rates import Rates


def on_span(names: Sequence[str] | None, wanted: list[Observable]) -> list[Observable]:
    """Return the observables that a closed form has where W1 has a part off the span of the inputs.

    Raises
    ------
    InputError
        If another one is named.
    """
    if names is not None and (off := next((entry.name for entry in wanted if entry.off_span), None)):
        raise InputError(
            f"observable {off!r} depends on W1 off the span of the inputs, which does not learn, and whose "
            "products with the other weights are not in the closed form; use fastlin.flow, or a network "
            "without that part: balanced_init(..., task=task)"
        )
    return [entry for entry in wanted if not entry.off_span]


def shrinkage(balance: Balance, rates: Rates, decay: tuple[float, float]) -> float:
    """Return the rate eta g at which decay shrinks both layers.

    Raises
    ------
    InputError
        If the closed form does not hold with it.
    """
    first, second = rates[0] * decay[0], rates[1] * decay[1]
    if first == second == 0.0:
        return 0.0
    if not math.isclose(first, second, rel_tol=1e-12):
        raise InputError(
            f"decay shrinks the layers at unequal rates, {first:g} and {second:g}, for which no closed form "
            "is known; use fastlin.flow"
        )
    if balance.lam != 0.0 or balance.kappa != 0.0:
        raise InputError(
            f"decay is exact only for lam = kappa = 0, and here lam is {balance.lam:g} and kappa "
            f"{balance.kappa:g}; use fastlin.flow"
        )
    return first


def check_time_scales(entries: list[Observable], balance: Balance, shrinking: float) -> None:
    """Raise where a time scale has no meaning: with decay, or with kappa > 0 for escape and rotation."""
    for entry in entries:
        if shrinking > 0.0:
            raise InputError(f"{entry.name} is a time scale of the flow without decay, and decay is above 0")
        if balance.kappa > 0.0 and entry.scale is not Scale.CONVERGENCE:
            raise InputError(
                f"{entry.name} does not apply for kappa > 0, where no direction starts at zero; "
                "allowed is convergence_time"
            )
