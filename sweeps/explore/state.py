"""One network as it is chosen on the page, and all numbers that are drawn of it."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Protocol

import numpy as np

from fastlin.architecture import Architecture
from fastlin.errors import InputError, MeanWarning, SaddleWarning
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kinds.initialisation import RAW_KINDS
from fastlin.kinds.starts import balanced_init, random_init
from fastlin.kinds.task_kinds import random_regression
from fastlin.networks.network import Network
from fastlin.sweeps.explore.problem import CURVES, ClosedForm, Flow, Problem
from fastlin.tasks.structured import hierarchy
from fastlin.tasks.task import Task
from fastlin.validation import check_choice
from fastlin.weights.rates import EQUAL_RATES, Rates

REGRESSION, HIERARCHY = "random regression", "hierarchy"
TASKS = (REGRESSION, HIERARCHY)
BALANCED = "balanced"
STARTS = (BALANCED, *RAW_KINDS)
RSMS = ("rsm_input", "rsm_output")
RDM = "rdm_correlation"  # drawn in place of "rsm_output" where samples have labels

# Times at which curves are drawn: the start, 16 in a decade, and the limit.
FIRST, LAST = -2, 4  # powers of ten
TIMES = np.array([0.0, *np.logspace(FIRST, LAST, 16 * (LAST - FIRST) + 1), np.inf])
TIMES_IN_PYTHON = f"0.0, *np.logspace({FIRST}, {LAST}, {16 * (LAST - FIRST) + 1})"
MOST_SAMPLES = 400  # of which similarity matrices are computed
MOST_ROWS = 64  # of a matrix that is drawn; more are thinned evenly

_ONE_AT_A_TIME = Lock()  # `warnings.catch_warnings` changes state of the whole process


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
    targets : ndarray, (modes,)
        Mode strengths of the least-squares map of rank N_h.
    matrices : dict of str to ndarray
        "rsm_input", "rsm_output" or "rdm_correlation", "w1" and "w2" at the time, as far as there are any.
    conditions : tuple of str
        Names along "rdm_correlation".
    title, code : str
        Words for the network, and Python that makes the same numbers.
    notes : tuple of str
    """

    time: float
    times: Array
    loss: Array
    kernel_distance: Array
    mode_strengths: Array
    targets: Array
    title: str
    code: str
    matrices: dict[str, Array] = field(default_factory=dict)
    conditions: tuple[str, ...] = ()
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
    return replace(drawn, notes=(*drawn.notes, note))


def _picture(problem: Problem, time: float) -> Picture:
    solved, notes = _solved(problem, time)
    times, curves = solved.times, solved.curves
    time = float(min(time, times[-1]))
    matrices, more = _matrices(problem, solved, time)
    targets = problem.targets()
    if problem.net.architecture.n_h < targets.size:
        more.append(f"The dashed lines show the least-squares map of rank {problem.net.architecture.n_h}.")
    return Picture(
        time=time,
        times=times,
        loss=curves["loss"].values,
        kernel_distance=curves["kernel_distance"].values,
        mode_strengths=curves["mode_strengths"].values,
        targets=targets,
        title=f"{problem.title}, {solved.words}",
        code=_code(problem, solved),
        matrices=matrices,
        conditions=problem.conditions,
        notes=(*problem.notes, *notes, *more),
    )


def _solved(problem: Problem, time: float) -> tuple[ClosedForm | Flow, list[str]]:
    """Return the closed form, or else the flow as far as it goes, and notes."""
    try:
        return ClosedForm(problem, np.unique(np.append(TIMES, time))), []
    except InputError:
        notes = [f"{_reason(problem)}, so that the flow is integrated (fl.flow)."]
    until = [*TIMES[problem.last > TIMES], min(time, problem.last), problem.last]
    solved = Flow(problem, np.unique(until))
    last = float(solved.times[-1])
    if last < problem.last or time > last:
        notes.append(f"The flow is drawn up to t = {last:,.4g}.")
    return solved, notes


def _reason(problem: Problem) -> str:
    """Return why a problem has no closed form, as the beginning of a sentence."""
    if problem.net.balance == "none":
        return "The weights are not balanced"
    if problem.task.inputs == "general":
        return "The inputs are not white"
    return "This network has no closed form"


def _matrices(problem: Problem, solved: ClosedForm | Flow, time: float) -> tuple[dict[str, Array], list[str]]:
    """Return the similarity matrices and the weights at a time, and notes on those that are left out."""
    task, matrices, notes = problem.task, dict[str, Array](), list[str]()
    names = [RSMS[0], RDM] if problem.conditions else [*RSMS]
    if not task.has_samples:
        notes.append("The task has no samples, and so no similarity matrices.")
        names = []
    elif task.n_samples > MOST_SAMPLES:
        notes.append(f"The similarity matrices of {task.n_samples:,} samples are not drawn.")
        names = [name for name in names if name == RDM]
    if names:
        matrices = solved.matrices(names, time)
    if problem.conditions and RSMS[0] in matrices:
        order = _by_condition(task)
        matrices[RSMS[0]] = matrices[RSMS[0]][np.ix_(order, order)]
        notes.append("The samples are in the order of their conditions.")
    try:
        matrices["w1"], matrices["w2"] = solved.weights(time)
    except InputError as error:
        notes.append(f"The weights are not drawn: {str(error).partition(';')[0]}.")
    thinned = {name: _thinned(matrix) for name, matrix in matrices.items()}
    if any(thinned[name].shape != matrix.shape for name, matrix in matrices.items()):
        notes.append(f"Of larger matrices, {MOST_ROWS} rows and columns are drawn, evenly chosen.")
    return thinned, notes


def _by_condition(task: Task) -> Integers:
    """Return the order of the samples (P,) in which those of a condition are together."""
    number = {label: place for place, label in enumerate(task.conditions)}
    return np.argsort([number[label] for label in task.labels or ()], kind="stable")


def _thinned(matrix: Array) -> Array:
    """Return a matrix with at most so many rows and columns, evenly chosen."""
    rows, columns = (
        np.linspace(0, size - 1, min(size, MOST_ROWS)).round().astype(int) for size in matrix.shape
    )
    return np.asarray(matrix[np.ix_(rows, columns)])


def _code(problem: Problem, solved: ClosedForm | Flow) -> str:
    """Return Python that makes the curves."""
    lines, times = ["import numpy as np", "import fastlin as fl", "", *problem.code], solved.times
    if np.isinf(times[-1]):
        lines.append(f"times = np.array([{TIMES_IN_PYTHON}, np.inf])")
    else:
        lines.append(f"times = np.array([{TIMES_IN_PYTHON}])")
        lines.append(f"times = times[times <= {float(times[-1])!r}]")
    if between := ", ".join(repr(float(time)) for time in times if time not in TIMES):
        lines.append(f"times = np.unique([*times, {between}])")
    options = "".join(f", {name}={value!r}" for name, value in solved.options.items())
    lines.append(f"ds = fl.{solved.solver}(task, net, times, observables={python(CURVES)}{options})")
    return "\n".join(lines)


def python(value: object) -> str:
    """Return a text, a number or texts as Python, with double quotes."""
    if isinstance(value, str | tuple):
        return json.dumps(value, ensure_ascii=False)
    return "np.inf" if value == np.inf else repr(value)
