"""The registry of initialisations. Each kind has a law of the unbalanced product."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels.draws import ENTRY_LAWS, AlignedStart, RegressionStart, StartLaw, WeightStart
from fastlin.kernels.random import MAX_SIZE
from fastlin.kinds.own_data import GivenWeights
from fastlin.kinds.own_parameters import WEIGHTS, resolve_weights
from fastlin.kinds.parameters import Parameter, Resolve
from fastlin.networks.low_rank import ADAPTERS, SCALINGS, AdapterStart
from fastlin.tasks.related import check_similarity
from fastlin.tasks.task import check_scale
from fastlin.validation import check_choice, check_int


@dataclass(frozen=True)
class InitKind:
    """A kind of start.

    Attributes
    ----------
    name : str
        Name in specs and in `balanced_init`.
    doc : str
        One sentence for the reference.
    law : callable
        Takes the number of samples of the task, or None, and the parameters, and returns a `StartLaw`, or an
        `AdapterStart`. It raises an `InputError` if the law needs the number and it is None.
    parameters : mapping of str to Parameter
        Parameters of the law, by name. They are keys of [init] in a spec.
    raw : bool
        Whether it draws weights, which may be left unbalanced.
    obstacle : callable
        Takes a law and an architecture, and returns why a network of that size has no such start, or None.
    resolve : callable, optional
        Of a kind whose parameters are files, see `parameters.Resolve`.
    adapter : bool
        Whether it draws adapters of low rank. Its law is an `AdapterStart` then. The balance of an adapter
        follows from its draw, so that lam cannot be set.
    """

    name: str
    doc: str
    law: Callable[..., Any]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    raw: bool = False
    obstacle: Callable[[Any, Architecture], str | None] = lambda law, architecture: None
    resolve: Resolve | None = None
    adapter: bool = False


def _regression_start(n_samples: int | None) -> StartLaw:
    if n_samples is None:
        raise InputError('kind "random_regression" needs the size of its task: n_samples=...')
    return RegressionStart(n_samples)


def _name(choices: Sequence[str]) -> Callable[[str, Any], str]:
    return lambda name, value: check_choice(name, value, choices)


# The keys of [init] of a LoRA sweep.
_ADAPTER_PARAMETERS = {
    "rank": Parameter(lambda name, value: check_int(name, value, 1, MAX_SIZE), "Rank r of the adapter."),
    "alpha": Parameter(check_scale, "Scale of the adapter.", 1.0),
    "scaling": Parameter(
        _name(tuple(SCALINGS)), "Factor of the update B A.", "alpha/r", form="`alpha/r` or `alpha/sqrt(r)`"
    ),
    "adapter": Parameter(
        _name(ADAPTERS), "Law of A. B is 0.", "orthonormal", form="`orthonormal`, `gaussian` or `spectral`"
    ),
    "similarity": Parameter(
        check_similarity,
        "Cosine of the angle between the targets of pre-training and of the task.",
        0.0,
    ),
}


def _weight_start(name: str) -> InitKind:
    return InitKind(name, ENTRY_LAWS[name].doc, lambda n_samples: WeightStart(name), raw=True)


INIT_KINDS = {
    kind.name: kind
    for kind in (
        *map(_weight_start, ENTRY_LAWS),
        InitKind("random_regression", RegressionStart.__doc__ or "", _regression_start),
        InitKind("aligned", AlignedStart.__doc__ or "", lambda n_samples: AlignedStart()),
        InitKind(
            "weights",
            "Your own weights, multiplied by init_scale. They are the same for all seeds.",
            lambda n_samples, data, network: data[network].law,
            WEIGHTS,
            raw=True,
            obstacle=GivenWeights.obstacle,
            resolve=resolve_weights,
        ),
        InitKind(
            "lora",
            "LoRA: an adapter of low rank on the map of a network that was pre-trained on another target "
            "(`lora`). The pre-trained map is the target `similar` to that of the task, truncated to rank "
            "N_h. init_scale is the scale of A, and rate_ratio is eta_B / eta_A (LoRA+).",
            lambda n_samples, **parameters: AdapterStart(**parameters),
            _ADAPTER_PARAMETERS,
            adapter=True,
        ),
    )
}


def product_kinds() -> list[str]:
    """Return the names of the kinds that draw the product W2 W1 of a balanced start from a seed."""
    return [name for name, kind in INIT_KINDS.items() if not kind.resolve and not kind.adapter]


# Kinds that draw weights, which may be taken as they are.
RAW_KINDS = tuple(name for name in product_kinds() if INIT_KINDS[name].raw)
