"""The registry of solvers: how each follows the dynamics of points, and its requirements and costs.

A spec names solvers, blocks run them, the plan takes their costs, and pictures and reports their labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastlin.kernels import Batch, Sizes, dispatch, empty_batch, stochastic_descent
from fastlin.kernels.batch import FlowControl
from fastlin.kernels.codes import Start
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.dormand_prince import estimated_steps
from fastlin.kernels.stochastic_descent import Noise
from fastlin.kernels.vector import closed_form, flow, gradient_descent, two_sided_closed_form

# Nanoseconds that a network takes besides its kernels: in a stack, and where it is integrated alone.
STACKED, ONE_BY_ONE = 3e5, 1e6
TOLERANCE, MIN_TOLERANCE, MAX_TOLERANCE = 1e-9, 1e-14, 1e-2  # of a step of the flow
MAX_STEPS = 100_000  # of the flow unless asked otherwise; some seconds for a small network


class Settings(NamedTuple):
    """The settings that points have in common: their kind of start, and how the solver follows them.

    Attributes
    ----------
    start : Start
        The way in which records give the start.
    kappa : float
        Two-sided balance; 0 for other starts.
    learning_rate : float
        NaN where the solver has none.
    decay : tuple of float, (2,)
        Decay of both layers, multiplied by their rates.
    control : FlowControl
        Tolerance and most steps of the flow.
    noise : Noise, optional
        Noise of gradient descent.
    white : bool
        Whether inputs are whitened. Otherwise records are those of `dispatch.draw_inputs_records`.
    """

    start: Start = Start.BALANCED
    kappa: float = 0.0
    learning_rate: float = math.nan
    decay: tuple[float, float] = (0.0, 0.0)
    control: FlowControl = FlowControl(TOLERANCE, MAX_STEPS)
    noise: Noise | None = None
    white: bool = True

    @property
    def recorded(self) -> Start:
        """The kind of start that records hold."""
        return self.start if self.white else Start.INPUTS


class Points(NamedTuple):
    """Points of one architecture, and the times at which they are recorded.

    They are the product of records and lams, or the pairs (record i, lams[i]) of a paired `Batch`.
    """

    records: Array  # (S, length), see `kernels.Record`
    lams: Array  # (L,)
    times: Array  # (T,) ascending
    settings: Settings
    paired: bool = False
    kappas: Array | None = None  # (P,) of paired points, in place of that of the settings

    @property
    def kappa(self) -> float | Array:
        """Two-sided balance of all points, or of each."""
        return self.settings.kappa if self.kappas is None else self.kappas

    def batch(self, times: Any, outputs: int) -> Batch:
        """Return an empty batch for so many outputs, at times or at steps of gradient descent."""
        return empty_batch(self.records, self.lams, times, outputs, self.paired)


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
        Takes sizes, times, `Settings` and the largest curvature |W1|^2 + |W2|^2, and returns the estimated
        time of one point on one core. Sizes may be `SizesOfMany`; the result is an array then.
    step : str or None
        The kernel that it compiles, of `kernels.compilation.STEPS`; None where it needs no compilation.
    finite_times : bool
        Whether t = inf is out of its reach.
    learning_rate : bool
        Whether it takes one.
    balanced : bool
        Whether starts must be balanced.
    adaptive : bool
        Whether it takes steps of its own size, and so a tolerance and a limit of steps.
    """

    name: str
    label: str
    phrase: str
    doc: str
    run: Callable[[Sizes, tuple[int, ...], Points, bool], Batch]
    nanoseconds: Callable[[Any, Array, Settings, Any], Any]
    step: str | None = None
    finite_times: bool = False
    learning_rate: bool = False
    balanced: bool = False
    adaptive: bool = False


def recorded_steps(times: Array, learning_rate: float) -> Integers:
    """Return the whole steps of gradient descent that are nearest to `times`."""
    return np.rint(times / learning_rate).astype(np.int64)


def _run_exact(sizes: Sizes, outputs: tuple[int, ...], points: Points, specialise: bool) -> Batch:
    batch = points.batch(points.times, len(outputs))
    dispatch.closed_form(sizes, outputs, batch, kappa=points.kappa, specialise=specialise)
    return batch


def _run_descent(sizes: Sizes, outputs: tuple[int, ...], points: Points, specialise: bool) -> Batch:
    start, rate, decay = points.settings.recorded, points.settings.learning_rate, points.settings.decay
    steps = recorded_steps(points.times, rate)
    batch = points.batch(steps, len(outputs))
    dispatch.gradient_descent(
        sizes, outputs, batch, rate, start=start, kappa=points.kappa, decay=decay, specialise=specialise
    )
    return batch


def _run_flow(sizes: Sizes, outputs: tuple[int, ...], points: Points, specialise: bool) -> Batch:
    start, decay, control = points.settings.recorded, points.settings.decay, points.settings.control
    batch = points.batch(points.times, len(outputs))
    dispatch.flow(
        sizes, outputs, batch, control, start=start, kappa=points.kappa, decay=decay, specialise=specialise
    )
    return batch


def _exact_nanoseconds(sizes: Sizes, times: Array, settings: Settings, _curvature: Any) -> Array:
    if any(settings.decay):
        return np.asarray(STACKED + closed_form.nanoseconds(sizes.unreduced, np.sort(times)))
    if settings.start == Start.TWO_SIDED:
        return two_sided_closed_form.nanoseconds(sizes, np.sort(times))
    return closed_form.nanoseconds(sizes, np.sort(times))


def _descent_nanoseconds(sizes: Sizes, times: Array, settings: Settings, _curvature: Any) -> Array:
    steps = float(times.max() / settings.learning_rate)
    if settings.noise is not None:
        return stochastic_descent.nanoseconds(sizes.unreduced, settings.noise.batch_size, steps, times.size)
    kept = sizes.followed(settings.recorded)
    return gradient_descent.nanoseconds(kept, steps, times.size, white=settings.white)


def _flow_nanoseconds(sizes: Sizes, times: Array, settings: Settings, curvature: Any) -> Array:
    tolerance, most = settings.control
    steps = np.minimum(estimated_steps(curvature, times.max(), tolerance), most)
    return flow.nanoseconds(sizes.followed(settings.recorded), steps, times.size, white=settings.white)


EXACT = Solver(
    "exact",
    "exact",
    "by the closed form",
    "the closed form of the gradient flow (Theorem A.3, corrected)",
    _run_exact,
    _exact_nanoseconds,
    step="closed_form",
    balanced=True,
)
GRADIENT_DESCENT = Solver(
    "gradient_descent",
    "gradient descent",
    "by gradient descent",
    "full-batch gradient descent, recorded at the whole steps nearest to the times",
    _run_descent,
    _descent_nanoseconds,
    step="gradient_descent",
    finite_times=True,
    learning_rate=True,
)

FLOW = Solver(
    "flow",
    "gradient flow",
    "by integrating the gradient flow",
    "the gradient flow of any weights, integrated to a tolerance (Dormand and Prince of order 8)",
    _run_flow,
    _flow_nanoseconds,
    step="flow",
    finite_times=True,
    adaptive=True,
)

SOLVERS = {solver.name: solver for solver in (EXACT, FLOW, GRADIENT_DESCENT)}
