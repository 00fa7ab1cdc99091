"""The table of all keys of a spec. Reading, writing and the reference page follow from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels.random import MAX_SEED
from fastlin.kinds.initialisation import INIT_KINDS
from fastlin.kinds.task_kinds import TASK_KINDS
from fastlin.observables.registry import FRACTION, check_fraction, sweepable
from fastlin.observables.stages import OF_SEQUENCE
from fastlin.solvers import MAX_STEPS, MAX_TOLERANCE, MIN_TOLERANCE, SOLVERS, TOLERANCE
from fastlin.sweeps.spec import axes
from fastlin.sweeps.spec.entry import Entry, KindSection, name_entry, names_entry, same
from fastlin.sweeps.spec.reduction import Reduction
from fastlin.sweeps.spec.sequence import TaskSection
from fastlin.tasks.task import MAX_SAMPLES, MAX_SCALE, MIN_SCALE
from fastlin.validation import check_bool, check_float, check_int, check_pair, shown
from fastlin.weights.balance import LEAST_KAPPA, MAX_KAPPA, check_kappa
from fastlin.weights.rates import one_or_two

DTYPES = ("float64", "float32")
CONVERGENCE: Final = "convergence_time"
OF_FRACTION = frozenset({CONVERGENCE, "relearning_time"})  # observables that depend on output.fraction
MOST_STEPS = 10**9  # of the flow


def _name(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{name} is {shown(value)}; a text is needed")
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which TOML cannot hold
        raise InputError(f"{name} is {shown(value)}; a text of Unicode characters is needed") from None
    return value


def _scales(name: str, value: Any) -> NDArray[np.float64]:
    return axes.reals(name, value, MIN_SCALE, MAX_SCALE)


def _times(name: str, value: Any) -> NDArray[np.float64]:
    return axes.reals(name, value, 0.0, infinite=True)


def _learning_rates(name: str, value: Any) -> NDArray[np.float64]:
    return np.empty(0) if value is None else axes.reals(name, value, 0.0, above=True)


def _lams(name: str, value: Any) -> NDArray[np.float64] | None:
    return None if value is None else axes.reals(name, value)


def _kappas(name: str, value: Any) -> NDArray[np.float64]:
    kappas = axes.reals(name, value, 0.0)
    for kappa in kappas:
        check_kappa(name, float(kappa))
    return kappas


def _ratios(name: str, value: Any) -> NDArray[np.float64]:
    return axes.reals(name, value, MIN_SCALE, MAX_SCALE)


def _tolerance(name: str, value: Any) -> float:
    return check_float(name, value, MIN_TOLERANCE, MAX_TOLERANCE)


def _max_steps(name: str, value: Any) -> int:
    return check_int(name, value, 1, MOST_STEPS)


def _batch_size(name: str, value: Any) -> int | None:
    return None if value is None else check_int(name, value, 1, MAX_SAMPLES)


def _label_noise(name: str, value: Any) -> float:
    return check_float(name, value, 0.0, MAX_SCALE)


def _varies(dimension: str, field: str, default: float) -> Callable[[Any], bool]:
    """Return whether an axis of a spec is a dimension or has another value than the default."""

    def written(spec: Any) -> bool:
        return dimension in spec.optional_dims or getattr(spec, field)[0] != default

    return written


def _triples(architectures: tuple[Architecture, ...]) -> list[list[int]]:
    return [[shape.n_i, shape.n_h, shape.n_o] for shape in architectures]


ENTRIES = (
    Entry("", "name", "name", _name, same, "text", "Title of the sweep.", "sweep"),
    Entry(
        "axes",
        "architecture",
        "architectures",
        axes.architectures,
        _triples,
        "architecture, product or list",
        "Numbers of input, hidden and output units.",
        dimension="architecture",
    ),
    Entry(
        "axes",
        "init_scale",
        "init_scales",
        _scales,
        axes.compact,
        f"numbers from {MIN_SCALE:g} to {MAX_SCALE:g}",
        "Factor of the raw weights of both layers: the standard deviation of Gaussian ones.",
        1.0,
        dimension="init_scale",
    ),
    Entry(
        "axes",
        "seed",
        "seeds",
        axes.integers,
        axes.compact,
        f"whole numbers from 0 to {MAX_SEED}",
        "Seeds of the task and of the raw weights.",
        dimension="seed",
    ),
    Entry(
        "axes",
        "lam",
        "lams",
        _lams,
        axes.compact,
        "numbers",
        "Relative scale of the layers, `W2^T W2 - W1 W1^T = lam I`. Balanced starts need it.",
        None,
        dimension="lam",
        written=lambda spec: bool(spec.balance),
    ),
    names_entry(
        "dynamics",
        "solver",
        "solvers",
        lambda: tuple(SOLVERS),
        "How the dynamics are solved. A list makes a dimension of the store.",
        default="exact",
        dimension="solver",
        optional=True,
        former=("method",),
    ),
    Entry(
        "dynamics",
        "times",
        "times",
        _times,
        axes.compact,
        "numbers from 0, also `inf`",
        "Times t / tau. Those of `flow` and gradient descent are finite. Gradient descent is recorded at the "
        "nearest step.",
        dimension="time",
    ),
    Entry(
        "dynamics",
        "learning_rate",
        "learning_rates",
        _learning_rates,
        axes.compact,
        "numbers above 0",
        "Learning rate, which gradient descent needs. A list or range makes a dimension of the store.",
        None,
        dimension="learning_rate",
        optional=True,
        written=lambda spec: bool(spec.learning_rates.size),
    ),
    Entry(
        "axes",
        "kappa",
        "kappas",
        _kappas,
        axes.compact,
        f"0, or numbers from {LEAST_KAPPA:g} to {MAX_KAPPA:g}",
        "Two-sided balance, `Q (D - lam I) Q^T = -kappa^2 J`. Above 0 it needs N_h >= N_i + N_o. A list or "
        "range makes a dimension of the store, in which narrower networks are absent for kappa > 0.",
        0.0,
        dimension="kappa",
        optional=True,
        written=_varies("kappa", "kappas", 0.0),
    ),
    Entry(
        "axes",
        "rate_ratio",
        "rate_ratios",
        _ratios,
        axes.compact,
        f"numbers from {MIN_SCALE:g} to {MAX_SCALE:g}",
        "Learning rate of W2 over that of W1. The unit of time is that of their geometric mean. A list or "
        "range makes a dimension of the store.",
        1.0,
        dimension="rate_ratio",
        optional=True,
        written=_varies("rate_ratio", "rate_ratios", 1.0),
    ),
    Entry(
        "axes",
        "noise_seed",
        "noise_seeds",
        axes.integers,
        axes.compact,
        f"whole numbers from 0 to {MAX_SEED}",
        "Seeds of minibatches and label noise. A list or range makes a dimension of the store.",
        0,
        dimension="noise_seed",
        optional=True,
        written=_varies("noise_seed", "noise_seeds", 0),
    ),
    Entry(
        "dynamics",
        "tolerance",
        "tolerance",
        _tolerance,
        same,
        f"number from {MIN_TOLERANCE:g} to {MAX_TOLERANCE:g}",
        "Error of a step of `flow`, relative to the weights.",
        TOLERANCE,
        written=lambda spec: spec.adaptive,
    ),
    Entry(
        "dynamics",
        "max_steps",
        "max_steps",
        _max_steps,
        same,
        f"whole number from 1 to {MOST_STEPS}",
        "Most steps of `flow`. A point that needs more gets the status too_stiff.",
        MAX_STEPS,
        written=lambda spec: spec.adaptive,
    ),
    Entry(
        "dynamics",
        "decay",
        "decay",
        check_pair,
        one_or_two,
        "number from 0, or a pair",
        "Weight decay of both layers, or of W1 and W2. It is multiplied by the learning rate of the layer.",
        0.0,
        written=lambda spec: any(spec.decay),
    ),
    Entry(
        "dynamics",
        "batch_size",
        "batch_size",
        _batch_size,
        same,
        "whole number from 1 to P",
        "Samples of a minibatch of gradient descent. By default all.",
        None,
        written=lambda spec: spec.batch_size is not None,
    ),
    Entry(
        "dynamics",
        "label_noise",
        "label_noise",
        _label_noise,
        same,
        f"number from 0 to {MAX_SCALE:g}",
        "Standard deviation of the noise that gradient descent adds to the targets in every step.",
        0.0,
        written=lambda spec: bool(spec.label_noise),
    ),
    names_entry(
        "output",
        "observables",
        "observables",
        lambda: (*sweepable(), *OF_SEQUENCE),
        "Observables that are stored.",
        default=["loss", "kernel_distance"],
    ),
    Entry(
        "output",
        "fraction",
        "fraction",
        check_fraction,
        same,
        "number between 0 and 1",
        f"Fraction of the achievable loss drop whose time `{CONVERGENCE}` or `relearning_time` is.",
        FRACTION,
        written=lambda spec: not OF_FRACTION.isdisjoint(spec.observables),
    ),
    name_entry("output", "dtype", "dtype", lambda: DTYPES, "Type of the stored numbers.", default="float64"),
    Entry(
        "output",
        "durable",
        "durable",
        check_bool,
        same,
        "true or false",
        "Whether all files are synced to disk, so that a loss of power does no harm.",
        False,
        written=lambda spec: bool(spec.durable),
    ),
    Entry(
        "output",
        "reduce",
        "reduce",
        Reduction.read,
        Reduction.to_dict,
        "table",
        "Statistics over the seeds, stored instead of every point.",
        None,
        written=lambda spec: spec.reduce is not None,
    ),
)
BALANCE = Entry(
    "init",
    "balance",
    "balance",
    check_bool,
    same,
    "true or false",
    "Whether the weights are balanced to `axes.lam` and `axes.kappa`, which keeps their product. Otherwise "
    "they are taken as they are drawn, and lam is no axis.",
    True,
    written=lambda spec: not spec.balance,
)
# Sections that name a kind and hold its parameters.
KIND_SECTIONS: dict[str, KindSection] = {
    entry.section: entry
    for entry in (
        TaskSection("task", "task", TASK_KINDS, "Kind of the task.", "random_regression"),
        KindSection("init", "init", INIT_KINDS, "Kind of the start.", "gaussian", (BALANCE,), "init_"),
    )
}
# Fields of the axes that are dimensions of a store only where they are given as a list or range.
_OPTIONAL = {entry.dimension: entry.field for entry in ENTRIES if entry.optional}
SECTIONS = ("axes", "task", "init", "dynamics", "output")


def optional_axes(owner: Any) -> dict[str, NDArray[Any]]:
    """Return the values of the optional axes of a spec, by dimension: see `Spec.optional_axes`."""
    values = {dimension: np.array(getattr(owner, field)) for dimension, field in _OPTIONAL.items()}
    return values | parameter_axes(owner)


def parameter_axes(owner: Any) -> dict[str, NDArray[Any]]:
    """Return the values of the parameters of tasks and starts that are axes, by dimension."""
    values: dict[str, NDArray[Any]] = {}
    for section in KIND_SECTIONS.values():
        values |= section.axes(owner)
    return values


def entries_of(section: str) -> tuple[Entry, ...]:
    """Return the entries of a section that names no kind."""
    return tuple(entry for entry in ENTRIES if entry.section == section)
