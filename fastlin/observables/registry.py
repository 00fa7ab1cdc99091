"""The registry of observables: name, dimensions, unit, equation and evaluation of each.

Every observable over time is a function of QQ^T(t), so that all solvers share one evaluation. The Python API,
stores, the command line and the documentation read `REGISTRY`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from fastlin.errors import InputError
from fastlin.kernels import Output, Scale
from fastlin.kernels.compiler.jit import Array
from fastlin.observables import adapters, representation, trajectory
from fastlin.observables.trajectory import Trajectory
from fastlin.tasks.arrays import TaskArrays
from fastlin.tasks.task import Task
from fastlin.validation import check_float, shown, suggest
from fastlin.weights.fit import Fit, fit_balance


def _not_over_time(_path: Trajectory) -> Any:
    raise NotImplementedError("an observable without time is no function of QQ^T(t)")


@dataclass(frozen=True)
class Observable:
    """An observable: one row of the registry.

    Attributes
    ----------
    name : str
        Name in specs, stores and Datasets.
    dims : tuple of str
        Dimensions, which follow "time".
    unit, symbol, equation, doc : str
        Unit, symbol in LaTeX, equation, and a description.
    rates_note : str
        How layer-wise learning rates change the equation; empty where they do not.
    evaluate : callable
        Takes the `Trajectory` of networks and returns ``(..., T, *dims)``. One network has no leading
        dimensions.
    outputs : tuple of Output
        Kernel outputs that a sweep stores for it, in the order of its own dimensions. It is empty where the
        size depends on the architecture, and such observables are not stored by sweeps.
    labels : mapping of str to tuple of str or int
        Coordinates of the dimensions that a sweep stores.
    scale : Scale, optional
        The kernel output of a time scale of the exact flow: one number per network, without time.
    of_fit : callable, optional
        Takes the `Fit` of the balance at the start, and returns one number per network (...), without time.
    dtype : str
        Type of its numbers.
    default : bool
        Whether `fastlin.exact` computes it unless asked otherwise.
    off_span : bool
        Whether it depends on the part of W1 off the span of dependent inputs.
    needs_samples : bool
        Whether it is a function of X or Y. A task of statistics alone has none.
    of_adapter : bool
        Whether sweeps of adapters (LoRA) store it, though no kernel computes it.
    lazy : bool
        Whether it is computed only where it is looked at.

    Examples
    --------
    >>> loss = fl.OBSERVABLES["loss"]
    >>> loss.doc, loss.equation
    ('mean squared error over the data, halved', 'L = |Y - W2 W1 X|_F^2 / (2 P)')
    >>> [name for name, entry in fl.OBSERVABLES.items() if entry.swept and not entry.over_time][:3]
    ['convergence_time', 'rotation_time', 'escape_time']
    """

    name: str
    dims: tuple[str, ...]
    unit: str
    symbol: str
    equation: str
    doc: str
    evaluate: Callable[[Trajectory], Any] = _not_over_time
    outputs: tuple[Output, ...] = ()
    labels: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    scale: Scale | None = None
    dtype: str = "float64"
    default: bool = True
    rates_note: str = ""
    off_span: bool = False
    needs_samples: bool = False
    of_adapter: bool = False
    lazy: bool = False
    of_fit: Callable[[Fit], Any] | None = None

    @property
    def over_time(self) -> bool:
        """Whether it has a time axis. Time scales and numbers of the start have none."""
        return self.scale is None and self.of_fit is None

    @property
    def swept(self) -> bool:
        """Whether a sweep can store it."""
        return bool(self.outputs) or self.of_adapter or not self.over_time

    @property
    def rows(self) -> int:
        """Numbers that a sweep stores for each point, and for each time where it has a time axis."""
        return math.prod(self.stored_dims.values())

    @property
    def stored_dims(self) -> dict[str, int]:
        """Dimensions that a sweep stores beyond points and time, and their sizes."""
        return {name: len(labels) for name, labels in self.labels.items()}

    def stored_shape(self, times: int) -> tuple[int, ...]:
        """Return the shape that a sweep stores for each point, given the number of times."""
        return (*((times,) if self.over_time else ()), *self.stored_dims.values())

    @property
    def attributes(self) -> dict[str, Any]:
        """Metadata for a variable of a Dataset or a store."""
        return {"long_name": self.doc, "units": self.unit, "equation": self.equation}

    def attributes_at(self, rates: tuple[float, float], adapted: bool = False) -> dict[str, Any]:
        """Return the metadata at learning rates (e1, e2) of geometric mean 1, or of an adapter."""
        equal = rates == (1.0, 1.0)
        return self.attributes_with("" if equal else f"e1 = {rates[0]:.6g}, e2 = {rates[1]:.6g}", adapted)

    def attributes_with(self, rates: str, adapted: bool = False) -> dict[str, Any]:
        """Return the metadata at learning rates that a text tells if they differ, or of an adapter."""
        equation = self.equation
        if adapted and not self.of_adapter:
            equation = equation.replace("W2 W1", ADAPTED)
        if rates and self.rates_note:
            equation = f"{equation}; {self.rates_note}, {rates}"
        return self.attributes | {"equation": equation}


# The function of an adapter (LoRA), which `Task.offset` and `Task.gain` describe.
ADAPTED = "(W0 + gain W2 W1)"
_KERNEL_OF_RATES = "K = e2 I x X^T W1^T W1 X + e1 W2 W2^T x X^T X"

_ALL = (
    Observable(
        "loss",
        (),
        "1",
        r"\mathcal{L}",
        "L = |Y - W2 W1 X|_F^2 / (2 P)",
        "mean squared error over the data, halved",
        trajectory.loss,
        (Output.LOSS,),
    ),
    Observable(
        "kernel_distance",
        (),
        "1",
        "S",
        "S = 1 - <K_0, K_t> / (|K_0| |K_t|)",
        "distance of the NTK from its start (Fort et al. 2020); NaN where all weights are 0",
        trajectory.kernel_distance,
        (Output.KERNEL_DISTANCE,),
        rates_note=_KERNEL_OF_RATES,
    ),
    Observable(
        "ntk_norm",
        (),
        "1",
        r"\|K\|_F / P",
        "|K|_F / P",
        "Frobenius norm of the NTK over the number of samples",
        trajectory.ntk_norm,
        (Output.NTK_NORM,),
        rates_note=_KERNEL_OF_RATES,
    ),
    Observable(
        "weight_norms",
        ("layer",),
        "1",
        r"\|W\|_F",
        "|W1|_F, |W2|_F",
        "Frobenius norms of the weights",
        trajectory.weight_norms,
        (Output.W1_NORM, Output.W2_NORM),
        {"layer": ("w1", "w2")},
        off_span=True,
    ),
    Observable(
        "balance_drift",
        (),
        "1",
        r"\|D_t - D_0\|_F",
        "|D(t) - D(0)|_F, D = W2^T W2 - W1 W1^T",
        "drift of the balance; 0 for the closed form, as the flow conserves D",
        lambda path: path.balance_drift,
        (Output.BALANCE_DRIFT,),
        rates_note="D = e1 W2^T W2 - e2 W1 W1^T",
    ),
    Observable(
        "effective_rank",
        (),
        "1",
        r"\mathrm{erank}\,W_2W_1",
        "exp(-sum_a q_a log q_a), q_a the normalised singular values of W2 W1",
        "effective rank of the network map (Roy & Vetterli 2007)",
        trajectory.effective_rank,
        (Output.EFFECTIVE_RANK,),
        off_span=True,
    ),
    Observable(
        "w2w1",
        ("output", "input"),
        "1",
        r"W_2W_1",
        "W2 W1",
        "the linear map of the network",
        lambda path: path.map,
        off_span=True,
    ),
    Observable(
        "w1tw1",
        ("input", "input_2"),
        "1",
        r"W_1^\top W_1",
        "W1^T W1",
        "correlation of input weights (Gram matrix)",
        lambda path: path.w1tw1,
        off_span=True,
    ),
    Observable(
        "w2w2t",
        ("output", "output_2"),
        "1",
        r"W_2W_2^\top",
        "W2 W2^T",
        "correlation of output weights (Gram matrix)",
        lambda path: path.w2w2t,
    ),
    Observable(
        "qqt",
        ("unit", "unit_2"),
        "1",
        r"QQ^\top",
        "Q Q^T, Q = [W1, W2^T]^T (Eq 1)",
        "all second-order statistics of the weights; inputs first, then outputs",
        lambda path: path.qqt,
        off_span=True,
    ),
    Observable(
        "network_function",
        ("output", "sample"),
        "1",
        r"\hat{Y}",
        "Y_hat = W2 W1 X",
        "outputs of the network",
        trajectory.network_function,
        needs_samples=True,
    ),
    Observable(
        "rsm_input",
        ("sample", "sample_2"),
        "1",
        r"\mathrm{RSM}_I",
        "X^T W1^T W1 X",
        "representational similarity of inputs in the hidden layer",
        trajectory.rsm_input,
        needs_samples=True,
    ),
    Observable(
        "rsm_output",
        ("sample", "sample_2"),
        "1",
        r"\mathrm{RSM}_O",
        "Y^T (W2 W2^T)^+ Y",
        "representational similarity of targets in the hidden layer (rank-aware pseudo-inverse)",
        trajectory.rsm_output,
        needs_samples=True,
    ),
    Observable(
        "mode_strengths",
        ("mode",),
        "1",
        r"u_a^\top W_2W_1\,v_a",
        "diag(U^T W2 W1 V), Sigma_yx = U diag(s) V^T",
        "strength of each mode of the task, the largest singular value first (Saxe et al. 2014)",
        representation.mode_strengths,
        off_span=True,
        default=False,
    ),
    Observable(
        "alignment",
        ("mode", "side"),
        "1",
        r"\cos^2",
        "cos^2(W v_a, u_a) and cos^2(W^T u_a, v_a), W = W2 W1, Sigma_yx = U diag(s) V^T",
        "alignment of the network with each mode of the task: 1 where (u_a, v_a) are singular vectors of it",
        representation.alignment,
        labels={"side": ("output", "input")},
        off_span=True,
        default=False,
    ),
    Observable(
        "rdm_cosine",
        ("condition", "condition_2"),
        "1",
        r"1-\cos",
        "1 - <h_k, h_l> / (|h_k| |h_l|), h_k = mean of W1 x over condition k",
        "dissimilarity of conditions in the hidden layer, by the cosine",
        representation.rdm_cosine,
        default=False,
        needs_samples=True,
    ),
    Observable(
        "rdm_correlation",
        ("condition", "condition_2"),
        "1",
        r"1-\rho",
        "1 - <h_k, h_l> / (|h_k| |h_l|), h_k = mean of W1 x over condition k, less the mean of all h",
        "dissimilarity of conditions in the hidden layer, by the correlation about the mean pattern",
        representation.rdm_correlation,
        default=False,
        needs_samples=True,
    ),
    Observable(
        "ntk",
        ("output", "sample", "output_2", "sample_2"),
        "1",
        "K",
        "I x X^T W1^T W1 X + W2 W2^T x X^T X",
        "neural tangent kernel; a lazy array, computed where it is looked at",
        trajectory.ntk,
        default=False,
        lazy=True,
        rates_note=_KERNEL_OF_RATES,
        needs_samples=True,
    ),
    Observable(
        "convergence_time",
        (),
        "1",
        r"t_f",
        "L(0) - L(t_f) = f (L(0) - L*), 2 L* = sum_{a > N_h} s_a^2 + tr Sigma_yy - |Sigma|^2",
        "time to a fraction f of the loss drop that this width can achieve; inf at a saddle above it",
        scale=Scale.CONVERGENCE,
        default=False,
    ),
    Observable(
        "rotation_time",
        (),
        "1",
        r"t_\mathrm{rot}",
        "1 / (w_h - w_{h+1}), w the eigenvalues of F; for a bottleneck about |lam| / (s_h^2 - s_{h+1}^2)",
        "e-folding time of the slowest turn of the hidden space; 0 where it has nothing to turn from",
        scale=Scale.ROTATION,
        default=False,
    ),
    Observable(
        "escape_time",
        (),
        "1",
        r"t_\mathrm{esc}",
        "min_a log(2 r_a / x_a - 1) / (2 r_a), x_a the squared norm of mode a at the start, r_a its rate",
        "time at which the first mode leaves the saddle at zero: half of its final strength, if alone",
        scale=Scale.ESCAPE,
        default=False,
    ),
    Observable(
        "fit_lam",
        (),
        "1",
        r"\lambda_\mathrm{fit}",
        "least squares of Q (D - lam I) Q^T = -kappa^2 J",
        "relative scale of the layers that fits the start best",
        rates_note="of U1 = sqrt(e2) W1, U2 = sqrt(e1) W2",
        of_fit=lambda fit: fit.lam,
        default=False,
    ),
    Observable(
        "fit_kappa",
        (),
        "1",
        r"\kappa_\mathrm{fit}",
        "least squares of Q (D - lam I) Q^T = -kappa^2 J",
        "width of the balance that fits the start best; 0 where N_h < N_i + N_o",
        rates_note="of U1 = sqrt(e2) W1, U2 = sqrt(e1) W2",
        of_fit=lambda fit: fit.kappa,
        default=False,
    ),
    Observable(
        "imbalance",
        (),
        "1",
        r"|Q(D-\lambda)Q^\top+\kappa^2J|\,/\,|Q|^4",
        "|Q (D - lam I) Q^T + kappa^2 J|_F / |Q|_F^4 at fit_lam and fit_kappa",
        "distance of the start from the nearest exact solution; 0 for one that is balanced",
        rates_note="of U1 = sqrt(e2) W1, U2 = sqrt(e1) W2",
        of_fit=lambda fit: fit.residual,
        default=False,
    ),
    Observable(
        "adapter_norm",
        (),
        "1",
        r"\|cBA\|_F",
        "|c W2 W1|_F, c the gain of the task",
        "norm of the update that the adapter adds to the frozen map (LoRA, Hu et al. 2022)",
        adapters.adapter_norm,
        of_adapter=True,
        default=False,
        off_span=True,
    ),
    Observable(
        "adapter_alignment",
        ("side",),
        "1",
        r"\|U_k^\top P_B\|^2/k",
        "|U_k^T P_2|^2 / k, |V_k^T P_1|^2 / k, P_2 on the columns of W2, P_1 on the rows of W1, U_k, V_k the "
        "top singular vectors of Sigma_yx - W0, k = min(N_h, its rank)",
        "overlap of the adapter's subspaces with those of the update that the task asks for",
        adapters.adapter_alignment,
        labels={"side": adapters.SIDES},
        of_adapter=True,
        default=False,
        off_span=True,
    ),
    Observable(
        "recovered_rank",
        (),
        "1",
        r"r_\mathrm{rec}",
        "number of a with |E v_a|, |E^T u_a| <= s_a / 2, E = Sigma_yx - W0 - c W2 W1, "
        "Sigma_yx - W0 = sum_a s_a u_a v_a^T",
        "singular directions of the update that the task asks for, of which at least half is learned",
        adapters.recovered_rank,
        of_adapter=True,
        default=False,
    ),
)

REGISTRY = {entry.name: entry for entry in _ALL}
#: All observables by their names: an `Observable` has the description, equation, unit and dimensions of each.
OBSERVABLES: Mapping[str, Observable] = MappingProxyType(REGISTRY)
TIME_ATTRIBUTES = {"long_name": "time t / tau = learning_rate * step", "units": "1"}
# Of the achievable loss drop, for `convergence_time`.
FRACTION = 0.99


def sweepable() -> list[str]:
    """Return the names of the observables that a sweep can store."""
    return [entry.name for entry in REGISTRY.values() if entry.swept]


def check_fraction(name: str, value: Any) -> float:
    """Return `value` if it is between 0 and 1, both excluded: a fraction of the achievable loss drop."""
    number = check_float(name, value)
    if not 0.0 < number < 1.0:
        raise InputError(
            f"{name} is {number:g}; it must be above 0 and below 1; the loss reaches 1 only at t = inf"
        )
    return number


def select(names: Sequence[str] | None, task: Task | TaskArrays) -> list[Observable]:
    """Return the named observables, or the default observables that a task has.

    Raises
    ------
    InputError
        If a name is not in the registry, `names` is no list, or an observable needs samples that the task
        does not have.
    """
    if names is None:
        default = [entry for entry in REGISTRY.values() if entry.default]
        return [entry for entry in default if task.has_samples or not entry.needs_samples]
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise InputError(f"observables is {shown(names)}; needed is a list of names")
    for name in names:
        if name not in REGISTRY:
            raise InputError(f"observable {name!r} is not known; {suggest(name, list(REGISTRY))}")
        if REGISTRY[name].needs_samples and not task.has_samples:
            raise InputError(
                f"observable {name!r} needs samples, and the task has statistics only (Task.from_sigma); "
                "use Task(x, y), or leave it out"
            )
    return [REGISTRY[name] for name in names]


def numbers_of_start(observables: Iterable[Observable], q: Array, n_i: int, n_h: int) -> dict[str, Any]:
    """Return the numbers of starts Q(0) (..., N, H), for those observables that have `of_fit`.

    One fit serves all of them.

    Parameters
    ----------
    observables : iterable of Observable
    q : ndarray, (..., N, H)
        ``[W1, W2^T]^T`` at the start, whose first N_i rows are inputs.
    n_i, n_h : int
        Number of inputs and of hidden units.

    Returns
    -------
    dict of str to ndarray, (...)
    """
    functions = {entry.name: entry.of_fit for entry in observables if entry.of_fit is not None}
    if not functions:
        return {}
    fit = fit_balance(q, n_i, n_h)
    return {name: function(fit) for name, function in functions.items()}
