"""The registry of solvers: how each follows the dynamics of points, and its requirements and costs.

A spec names solvers, blocks run them, the plan takes their costs, and pictures and reports their labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastlin.kernels import Batch, Sizes, dispatch, empty_batch
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.vector import closed_form, gradient_descent


class Points(NamedTuple):
    """Points (seed, lam) of one architecture, and the times at which they are recorded."""

    records: Array  # (S, length), see `kernels.Record`
    lams: Array  # (L,)
    times: Array  # (T,) ascending
    learning_rate: float  # NaN where the solver has none


@dataclass(frozen=True)
class Solver:
    """One way to follow the dynamics.

    Attributes
    ----------
    name : str
        Name in specs and stores.
    label : str
        Name in pictures.
    phrase : str
        How a result was computed, for reports.
    doc : str
        One sentence for the reference.
    run : callable
        Takes sizes, codes of outputs, `Points` and whether to specialise, and returns a filled `Batch`.
    nanoseconds : callable
        Takes sizes, times and learning rate, and returns the estimated time of one point on one core. Sizes
        may be `SizesOfMany`; the result is an array then.
    step : str or None
        The kernel that it compiles, of `kernels.compilation.STEPS`; None where it needs no compilation.
    finite_times : bool
        Whether t = inf is out of its reach.
    learning_rate : bool
        Whether it takes one.
    """

    name: str
    label: str
    phrase: str
    doc: str
    run: Callable[[Sizes, tuple[int, ...], Points, bool], Batch]
    nanoseconds: Callable[[Any, Array, float], Any]
    step: str | None = None
    finite_times: bool = False
    learning_rate: bool = False


def recorded_steps(times: Array, learning_rate: float) -> Integers:
    """Return the whole steps of gradient descent that are nearest to `times`."""
    return np.rint(times / learning_rate).astype(np.int64)


def _run_exact(sizes: Sizes, outputs: tuple[int, ...], points: Points, specialise: bool) -> Batch:
    batch = empty_batch(points.records, points.lams, points.times, len(outputs))
    dispatch.closed_form(sizes, outputs, batch, specialise=specialise)
    return batch


def _run_descent(sizes: Sizes, outputs: tuple[int, ...], points: Points, specialise: bool) -> Batch:
    steps = recorded_steps(points.times, points.learning_rate)
    batch = empty_batch(points.records, points.lams, steps, len(outputs))
    dispatch.gradient_descent(sizes, outputs, batch, points.learning_rate, specialise=specialise)
    return batch


EXACT = Solver(
    "exact",
    "exact",
    "by the closed form",
    "the closed form of the gradient flow (Theorem A.3, corrected)",
    _run_exact,
    lambda sizes, times, rate: closed_form.nanoseconds(sizes, np.sort(times)),
    step="closed_form",
)
GRADIENT_DESCENT = Solver(
    "gradient_descent",
    "gradient descent",
    "by gradient descent",
    "full-batch gradient descent, recorded at the whole steps nearest to the times",
    _run_descent,
    lambda sizes, times, rate: gradient_descent.nanoseconds(sizes, float(times.max() / rate), times.size),
    step="gradient_descent",
    finite_times=True,
    learning_rate=True,
)

SOLVERS = {solver.name: solver for solver in (EXACT, GRADIENT_DESCENT)}
