"""The table of all keys of a spec. Reading, writing and the reference page follow from it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.initialisation import INIT_KINDS
from fastlin.kernels.random import MAX_SEED
from fastlin.observables import FRACTION, check_fraction, sweepable
from fastlin.solvers import SOLVERS
from fastlin.sweeps.spec import axes
from fastlin.sweeps.spec.entry import Entry, KindSection, name_entry, names_entry, same
from fastlin.sweeps.spec.reduction import Reduction
from fastlin.task import MAX_SCALE, MIN_SCALE
from fastlin.task_kinds import TASK_KINDS
from fastlin.validation import check_bool, shown

DTYPES = ("float64", "float32")
CONVERGENCE: Final = "convergence_time"


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
        "Standard deviation of the raw weights before they are balanced.",
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
        axes.reals,
        axes.compact,
        "numbers",
        "Relative scale of the layers, `W2^T W2 - W1 W1^T = lam I`.",
        dimension="lam",
    ),
    names_entry(
        "dynamics",
        "solver",
        "solvers",
        lambda: tuple(SOLVERS),
        "How the dynamics are solved. A list makes a dimension of the store.",
        default="exact",
        dimension="solver",
        axis_field="solver_axis",
        former=("method",),
    ),
    Entry(
        "dynamics",
        "times",
        "times",
        _times,
        axes.compact,
        "numbers from 0, also `inf`",
        "Times t / tau. Those of gradient descent are finite, and recorded at the nearest step.",
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
        axis_field="learning_rate_axis",
        written=lambda spec: bool(spec.learning_rates.size),
    ),
    names_entry(
        "output",
        "observables",
        "observables",
        sweepable,
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
        f"Fraction of the achievable loss drop whose time `{CONVERGENCE}` is.",
        FRACTION,
        written=lambda spec: CONVERGENCE in spec.observables,
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
# Sections that name a kind and hold its parameters.
KIND_SECTIONS: dict[str, KindSection] = {
    entry.section: entry
    for entry in (
        KindSection("task", "task", TASK_KINDS, "Kind of the task.", "random_regression"),
        KindSection("init", "init", INIT_KINDS, "Kind of the start.", "gaussian"),
    )
}
SECTIONS = ("axes", "task", "init", "dynamics", "output")


def entries_of(section: str) -> tuple[Entry, ...]:
    """Return the entries of a section that names no kind."""
    return tuple(entry for entry in ENTRIES if entry.section == section)
