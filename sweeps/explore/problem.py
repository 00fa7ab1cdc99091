"""A network, its task and its dynamics, and both solvers of it: the closed form and the integrated flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.weight_flow import integrate
from fastlin.networks.network import Network
from fastlin.solutions.dynamics import dataset, select_over_time, trajectory
from fastlin.solutions.exact import exact
from fastlin.solvers import MAX_STEPS, TOLERANCE
from fastlin.tasks.adapted import residual_task
from fastlin.tasks.task import Task
from fastlin.weights.balance import reduced_width
from fastlin.weights.flow_path import FlowSettings, check_steps
from fastlin.weights.rates import EQUAL_RATES, Rates

CURVES = ("loss", "kernel_distance", "mode_strengths")
LAST_OF_FLOW = 1e3  # Last time of the integrated flow of a network of the sliders.
# The flow is integrated in at most so many steps, and in fewer where the weights have more entries. A step of
# 12-12-5 takes about 20 us and one of 16-32-16 about 80 us, so that a move of a slider takes about 50 ms.
FLOW_STEPS = 3_000
FLOW_ENTRIES = 450_000
NO_LIMIT = 10**12  # of steps, in the lines of Python


@dataclass(frozen=True)
class Problem:
    """A network, its task and its dynamics.

    Attributes
    ----------
    task, net
        As `fastlin.exact` takes them.
    rates : Rates, optional
        Learning rates of the layers. By default those of the task.
    decay : tuple of float
        Weight decay of the layers.
    code : tuple of str
        Lines of Python that make `task` and `net`.
    title : str
        Words for the network.
    last : float
        Last time of an integrated flow.
    notes : tuple of str
        Sentences for the reader.
    """

    task: Task
    net: Network
    code: tuple[str, ...]
    title: str
    rates: Rates | None = None
    decay: tuple[float, float] = (0.0, 0.0)
    last: float = LAST_OF_FLOW
    notes: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of solvers that are not at their defaults."""
        options: dict[str, Any] = {} if self.rates is None else {"learning_rates": tuple(self.rates)}
        return options | ({"decay": self.decay} if any(self.decay) else {})

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions of the samples, if these have labels."""
        labelled = self.task.has_samples and self.task.labels is not None
        return tuple(map(str, self.task.conditions)) if labelled else ()

    def targets(self) -> Array:
        """Return the mode strengths (modes,) of the least-squares map of the task among those of rank N_h.

        The map of full rank is ``Sigma_yx Sigma_xx^+``. That of a lower rank keeps the largest singular
        values of ``Sigma_yx Sigma_xx^(+1/2)`` (reduced-rank regression, Izenman 1975).
        """
        rank, learned = self.net.architecture.n_h, residual_task(self.task)
        u, s, vt = np.linalg.svd(learned.moments.target, full_matrices=False)
        best = learned.moments.on_inputs((u[:, :rank] * s[:rank]) @ vt[:rank])
        u, _, vt = np.linalg.svd(self.task.sigma_yx, full_matrices=False)
        return np.asarray(np.sum((u.T @ (self.task.offset + self.task.gain * best)) * vt, axis=1))


class ClosedForm:
    """The closed form of a problem.

    Parameters
    ----------
    problem : Problem
    times : ndarray, (T,)
        Ascending.

    Attributes
    ----------
    times : ndarray, (T,)
    curves : xarray.Dataset
        The observables over all times that are drawn as curves.

    Raises
    ------
    InputError
        If there is no closed form.
    """

    solver, words = "exact", "closed form"

    def __init__(self, problem: Problem, times: Array) -> None:
        self._problem, self.times = problem, times
        self.options = problem.options
        self.curves = exact(problem.task, problem.net, times, CURVES, **self.options)

    def matrices(self, names: Sequence[str], time: float) -> dict[str, Array]:
        """Return matrices over samples or conditions at a time, by the names of observables."""
        found = exact(self._problem.task, self._problem.net, [time], names, **self.options)
        return {name: found[name].values[0] for name in names}

    def weights(self, time: float) -> tuple[Array, Array]:
        """Return W1 (N_h, N_i) and W2 (N_o, N_h) at a time, in the hidden basis of `Network.after`.

        Raises
        ------
        InputError
            If they are not known: with weight decay, or where they need too many steps.
        """
        if any(self._problem.decay):
            raise InputError("with weight decay only their products are known")
        return _weights_after(self._problem, time)


class Flow:
    """The integrated flow of a problem, as far as a limited number of steps reaches.

    Parameters and attributes are those of `ClosedForm`. `times` are those that are reached. One integration
    gives all that is drawn, because it takes most of the time of a move.
    """

    solver, words = "flow", "gradient flow"

    def __init__(self, problem: Problem, times: Array) -> None:
        self._problem, task, net = problem, problem.task, problem.net
        w1, w2 = (np.ascontiguousarray(weights) for weights in reduced_width(net.w1, net.w2))
        settings = FlowSettings(
            Rates.of_flow(task, problem.rates),
            problem.decay,
            TOLERANCE,
            min(FLOW_STEPS, FLOW_ENTRIES // (w1.size + w2.size)),
        )
        learned = residual_task(task)
        path = integrate(
            w1,
            w2,
            learned.sigma_yx,
            None if learned.whitened else learned.sigma_xx,
            settings.rates,
            settings.decay,
            times,
            settings.tolerance,
            settings.max_steps,
        )
        self.times = times[: path.reached]
        self._w1, self._w2 = path.path1[: path.reached], path.path2[: path.reached]
        self._path = trajectory(self._w1, self._w2, task, net.architecture.n_h, settings.rates)
        self.curves = dataset(self._path, self.times, select_over_time(CURVES, task), net, {})
        self.options = problem.options
        try:
            check_steps(learned, w1, w2, float(self.times[-1]), settings._replace(max_steps=MAX_STEPS))
        except InputError:  # the estimate for the start is above the default limit of `flow`
            self.options |= {"max_steps": NO_LIMIT}

    def matrices(self, names: Sequence[str], time: float) -> dict[str, Array]:
        """Return matrices over samples or conditions at a time, by the names of observables."""
        at, task = self._index(time), self._problem.task
        now = replace(self._path, qqt=self._path.qqt[[at]], balance_drift=self._path.balance_drift[[at]])
        return {entry.name: entry.evaluate(now)[0] for entry in select_over_time(names, task)}

    def weights(self, time: float) -> tuple[Array, Array]:
        """Return W1 (N_h, N_i) and W2 (N_o, N_h) at a time.

        Raises
        ------
        InputError
            If a network wider than N_i + N_o needs too many steps. It was integrated at a reduced width.
        """
        at = self._index(time)
        if self._w1.shape[1:] == self._problem.net.w1.shape:
            return self._w1[at], self._w2[at]
        return _weights_after(self._problem, time)

    def _index(self, time: float) -> int:
        return int(np.searchsorted(self.times, time))


def _weights_after(problem: Problem, time: float) -> tuple[Array, Array]:
    """Return the weights by `Network.after`, which knows equal rates alone.

    ``sqrt(eta2) W1`` and ``sqrt(eta1) W2`` with ``eta1 eta2 = 1`` follow the flow of equal rates.
    """
    rates = problem.rates or EQUAL_RATES
    root1, root2 = rates.second**0.5, rates.first**0.5
    net = problem.net if problem.rates is None else Network(root1 * problem.net.w1, root2 * problem.net.w2)
    later = net.after(problem.task, time)
    return later.w1 / root1, later.w2 / root2
