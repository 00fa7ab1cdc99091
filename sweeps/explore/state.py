"""One network as it is chosen on the page, and all numbers that are drawn of it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol

import numpy as np
import xarray as xr

from fastlin.architecture import Architecture
from fastlin.errors import InputError, MeanWarning, SaddleWarning
from fastlin.kernels.compiler.jit import Array
from fastlin.kinds.initialisation import RAW_KINDS
from fastlin.kinds.starts import balanced_init, random_init
from fastlin.kinds.task_kinds import random_regression
from fastlin.networks.network import Network
from fastlin.solutions.exact import exact
from fastlin.solutions.flow import flow
from fastlin.tasks.structured import hierarchy
from fastlin.tasks.task import Task
from fastlin.validation import check_choice
from fastlin.weights.rates import EQUAL_RATES, Rates

REGRESSION, HIERARCHY = "random regression", "hierarchy"
TASKS = (REGRESSION, HIERARCHY)
BALANCED = "balanced"
STARTS = (BALANCED, *RAW_KINDS)
CURVES = ("loss", "kernel_distance", "mode_strengths")
RSMS = ("rsm_input", "rsm_output")

# Times at which curves are drawn: the start, 16 in a decade, and the limit.
FIRST, LAST = -2, 4  # powers of ten
TIMES = np.array([0.0, *np.logspace(FIRST, LAST, 16 * (LAST - FIRST) + 1), np.inf])
TIMES_IN_PYTHON = f"0.0, *np.logspace({FIRST}, {LAST}, {16 * (LAST - FIRST) + 1})"
# The integrated flow is drawn up to the last of these times that it reaches in so many steps. More steps than
# these take longer than a move of a slider should.
FLOW_ENDS = (1e3, 1e2, 1e1, 1e0)
FLOW_STEPS = 1_000
MOST_SAMPLES = 400  # of which similarity matrices are computed
MOST_ROWS = 64  # of a matrix that is drawn; more are thinned evenly

_ONE_AT_A_TIME = Lock()  # warnings are caught, which all threads of a process share


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
    notes : tuple of str
        Sentences for the reader.
    """

    task: Task
    net: Network
    code: tuple[str, ...]
    title: str
    rates: Rates | None = None
    decay: tuple[float, float] = (0.0, 0.0)
    notes: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of solvers that are not at their defaults."""
        options: dict[str, Any] = {} if self.rates is None else {"learning_rates": tuple(self.rates)}
        return options | ({"decay": self.decay} if any(self.decay) else {})


class Source(Protocol):
    """Where a problem comes from: the sliders, or a point of a store."""

    def problem(self) -> Problem:
        """Return the problem.

        Raises
        ------
        InputError
            If there is no such network.
        """


@dataclass(frozen=True)
class Choice:
    """The network that the sliders choose.

    `start` is "balanced" or a kind of raw weights. A random regression task has `n_samples` samples, or N_i
    if that is more.
    """

    task: str = REGRESSION
    start: str = BALANCED
    n_i: int = 4
    n_h: int = 2
    n_o: int = 4
    lam: float = -1.0
    kappa: float = 0.0
    init_scale: float = 1.0
    seed: int = 0
    rate_ratio: float = 1.0
    n_samples: int = 10
    target_scale: float = 3**0.5

    def problem(self) -> Problem:
        """Return the task and the network, with the lines that make them."""
        arch = Architecture(self.n_i, self.n_h, self.n_o)
        rates = None if self.rate_ratio == 1.0 else Rates.of_ratio(self.rate_ratio)
        task, task_line = self._task(arch)
        net, net_line = self._network(arch, rates)
        code = (f"arch = fl.Architecture({self.n_i}, {self.n_h}, {self.n_o})", task_line, net_line)
        return Problem(task, net, code, f"{arch.family} network {arch}", rates)

    def _task(self, arch: Architecture) -> tuple[Task, str]:
        if check_choice("task", self.task, TASKS) == HIERARCHY:
            levels = self.n_i.bit_length() - 1
            if self.n_i != self.n_o or self.n_i != 2**levels or not levels:
                raise InputError(
                    f"a hierarchy has as many inputs as outputs, a power of two: N_i = N_o = 2, 4, 8 and so "
                    f"on; chosen are N_i = {self.n_i} and N_o = {self.n_o}"
                )
            return hierarchy(levels), f"task = fl.hierarchy(levels={levels})"
        samples = max(self.n_samples, self.n_i)
        task = random_regression(arch, samples, self.target_scale, self.seed)
        rest = f"target_scale={self.target_scale!r}, seed={self.seed}"
        return task, f"task = fl.random_regression(arch, n_samples={samples}, {rest})"

    def _network(self, arch: Architecture, rates: Rates | None) -> tuple[Network, str]:
        shared = f"init_scale={self.init_scale!r}, seed={self.seed}"
        if check_choice("start", self.start, STARTS) != BALANCED:
            net = random_init(arch, self.start, self.init_scale, self.seed)
            return net, f'net = fl.random_init(arch, "{self.start}", {shared})'
        rest = f", kappa={self.kappa!r}" if self.kappa else ""
        rest += f", learning_rates={tuple(rates)!r}" if rates else ""
        net = balanced_init(
            arch,
            self.lam,
            self.init_scale,
            self.seed,
            kappa=self.kappa,
            learning_rates=rates or EQUAL_RATES,
        )
        return net, f"net = fl.balanced_init(arch, lam={self.lam!r}, {shared}{rest})"


@dataclass(frozen=True)
class Picture:
    """All numbers that are drawn of a network at a time.

    Attributes
    ----------
    time : float
        The time of the matrices. It is earlier than the chosen one where the flow does not reach that.
    times : ndarray, (T,)
        Ascending times of the curves, with `time` among them.
    loss, kernel_distance : ndarray, (T,)
    mode_strengths : ndarray, (T, modes)
    singular_values : ndarray, (modes,)
        Of the task's Sigma_yx.
    matrices : dict of str to ndarray
        "rsm_input", "rsm_output", "w1" and "w2" at the time, as far as there are any.
    title, code : str
        Words for the network, and Python that makes the same numbers.
    notes : tuple of str
    """

    time: float
    times: Array
    loss: Array
    kernel_distance: Array
    mode_strengths: Array
    singular_values: Array
    title: str
    code: str
    matrices: dict[str, Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def at(self) -> int:
        """Index of the time."""
        return int(np.searchsorted(self.times, self.time))


def picture(source: Source, time: float) -> Picture:
    """Compute all that is drawn of a network at a time: the work of one move of a slider.

    Parameters
    ----------
    source : Source
        The network.
    time : float
        t / tau from 0 to inf.

    Returns
    -------
    Picture

    Raises
    ------
    InputError
        If there is no such network. The message is one line for the reader.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore", MeanWarning)
        warnings.simplefilter("always", SaddleWarning)
        drawn = _picture(source.problem(), time)
    saddle = any(issubclass(warning.category, SaddleWarning) for warning in caught)
    return drawn if not saddle else _noted(drawn, "At t = ∞ the flow ends at a saddle.")


def _noted(drawn: Picture, note: str) -> Picture:
    return Picture(**{**vars(drawn), "notes": (*drawn.notes, note)})


def _picture(problem: Problem, time: float) -> Picture:
    curves, notes = _curves(problem, time)
    times = curves["time"].values
    time = float(min(time, times[-1]))
    matrices, more = _matrices(problem, str(curves.attrs["solver"]), time)
    return Picture(
        time=time,
        times=times,
        loss=curves["loss"].values,
        kernel_distance=curves["kernel_distance"].values,
        mode_strengths=curves["mode_strengths"].values,
        singular_values=np.asarray(np.linalg.svd(problem.task.sigma_yx)[1]),
        title=f"{problem.title}, {'closed form' if curves.attrs['solver'] == 'exact' else 'gradient flow'}",
        code=_code(problem, str(curves.attrs["solver"]), time, times),
        matrices=matrices,
        notes=(*problem.notes, *notes, *more),
    )


def _curves(problem: Problem, time: float) -> tuple[xr.Dataset, list[str]]:
    """Return the curves by the closed form, or else by the flow as far as it goes, and notes."""
    times = np.unique(np.append(TIMES, time))
    try:
        return exact(problem.task, problem.net, times, CURVES, **problem.options), []
    except InputError as error:
        if problem.net.balance != "none":  # it is balanced, so that the reader should know the reason
            notes = [f"There is no closed form here: {error}."]
        else:
            notes = ["The weights are not balanced, so that the flow is integrated (fl.flow)."]
    curves = _flow_as_far(problem, times, FLOW_ENDS)
    last = float(curves["time"][-1])
    if last < FLOW_ENDS[0] or time > last:
        notes.append(f"The flow is drawn up to t = {last:,.0f}.")
    return curves, notes


def _flow_as_far(problem: Problem, times: Array, ends: Sequence[float]) -> xr.Dataset:
    """Return the curves of the flow up to the first of these ends that it reaches in few steps."""
    try:
        return _flow(problem, times[times <= ends[0]], CURVES)
    except InputError as error:
        if len(ends) == 1 or "steps" not in str(error):
            raise
        return _flow_as_far(problem, times, ends[1:])


def _flow(problem: Problem, times: Array, observables: Sequence[str]) -> xr.Dataset:
    return flow(
        problem.task,
        problem.net,
        times,
        observables=observables,
        max_steps=FLOW_STEPS,
        **problem.options,
    )


def _matrices(problem: Problem, solver: str, time: float) -> tuple[dict[str, Array], list[str]]:
    """Return the similarity matrices and the weights at a time, and notes on those that are left out."""
    matrices: dict[str, Array] = {}
    notes = []
    if not problem.task.has_samples:
        notes.append("The task has no samples, and so no similarity matrices.")
    elif problem.task.n_samples > MOST_SAMPLES:
        notes.append(f"The similarity matrices of {problem.task.n_samples:,} samples are not drawn.")
    else:
        if solver == "exact":
            found = exact(problem.task, problem.net, [time], RSMS, **problem.options)
        else:
            found = _flow(problem, np.array([time]), RSMS)
        matrices |= {name: found[name].values[0] for name in RSMS}
    try:
        matrices["w1"], matrices["w2"] = _weights(problem, time)
    except InputError as error:
        notes.append(f"The weights are not drawn: {error}.")
    thinned = {name: _thinned(matrix) for name, matrix in matrices.items()}
    if any(thinned[name].shape != matrix.shape for name, matrix in matrices.items()):
        notes.append(f"Of larger matrices, {MOST_ROWS} rows and columns are drawn, evenly chosen.")
    return thinned, notes


def _weights(problem: Problem, time: float) -> tuple[Array, Array]:
    """Return W1 (N_h, N_i) and W2 (N_o, N_h) at a time, in the hidden basis of `Network.after`.

    Raises `InputError` where that does not carry weights on.

    ``sqrt(eta2) W1`` and ``sqrt(eta1) W2`` with ``eta1 eta2 = 1`` follow the flow of equal rates.
    """
    if any(problem.decay):
        raise InputError("their solution with weight decay has no hidden basis")
    rates = problem.rates or EQUAL_RATES
    root1, root2 = rates.second**0.5, rates.first**0.5
    net = problem.net if problem.rates is None else Network(root1 * problem.net.w1, root2 * problem.net.w2)
    later = net.after(problem.task, time)
    return later.w1 / root1, later.w2 / root2


def _thinned(matrix: Array) -> Array:
    """Return a matrix with at most so many rows and columns, evenly chosen."""
    rows, columns = (
        np.linspace(0, size - 1, min(size, MOST_ROWS)).round().astype(int) for size in matrix.shape
    )
    return np.asarray(matrix[np.ix_(rows, columns)])


def _code(problem: Problem, solver: str, time: float, times: Array) -> str:
    """Return Python that makes the curves."""
    lines = ["import numpy as np", "import fastlin as fl", "", *problem.code]
    if np.isinf(times[-1]):
        lines.append(f"times = np.array([{TIMES_IN_PYTHON}, np.inf])")
    else:
        lines.append(f"times = np.array([{TIMES_IN_PYTHON}])")
        lines.append(f"times = times[times <= {float(times[-1])!r}]")
    lines += [] if time in TIMES else [f"times = np.unique([*times, {time!r}])"]
    options = "".join(f", {name}={value!r}" for name, value in problem.options.items())
    lines.append(f"ds = fl.{solver}(task, net, times, observables={python(CURVES)}{options})")
    return "\n".join(lines)


def python(value: object) -> str:
    """Return a text, a number or texts as Python, with double quotes."""
    if isinstance(value, str | tuple):
        return json.dumps(value, ensure_ascii=False)
    return "np.inf" if value == np.inf else repr(value)
