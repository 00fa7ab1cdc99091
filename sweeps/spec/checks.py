"""Checks between entries of a spec that are right by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels import Scale
from fastlin.kernels.draws import TaskLaw
from fastlin.kinds.initialisation import INIT_KINDS, InitKind
from fastlin.kinds.parameters import Choice
from fastlin.kinds.sequence_law import SEEDS_OF_STAGE, inputs_of
from fastlin.kinds.task_kinds import TaskKind
from fastlin.observables.registry import REGISTRY
from fastlin.observables.stages import OF_SEQUENCE, entry_of
from fastlin.solvers import FLOW, SOLVERS
from fastlin.sweeps.spec.faults import Faults
from fastlin.sweeps.spec.points import chosen_parameters
from fastlin.sweeps.spec.sequence import stage_count
from fastlin.sweeps.spec.table import KIND_SECTIONS

MAX_STEPS = 10**12


def task_laws(fields: Mapping[str, Any], faults: Faults) -> list[TaskLaw]:
    """Return the laws of the tasks of a spec, one for each combination of parameters; none after a fault."""
    task: Choice[TaskKind] | None = fields.get("task")
    if task is None:
        return []
    try:
        return [task.kind.law(**values) for values in chosen_parameters(task, fields["table"])]
    except InputError as error:
        faults.add_error(error)
        return []


def settle_solver(fields: dict[str, Any], given: Mapping[str, Any], laws: Sequence[TaskLaw]) -> None:
    """Set the solver "flow" where none is given and the inputs of a task are not whitened."""
    if given.get("solver") is None and not all(law.white for law in laws):
        fields["solvers"] = (FLOW.name,)


def check_inputs(solvers: Sequence[str], laws: Sequence[TaskLaw], faults: Faults) -> None:
    """Note the solver 'exact' for a task whose inputs have no closed form."""
    if any(SOLVERS[name].balanced for name in solvers) and "general" in map(inputs_of, laws):
        faults.add(
            "dynamics.solver is 'exact', and the inputs of the task are neither whitened nor a multiple of a "
            "projector; use 'flow', which is the default then"
        )


def settle_learning_rates(fields: dict[str, Any], faults: Faults) -> None:
    """Note learning rates that are missing or have no use, and drop a single one that has none."""
    if "solvers" not in fields or "learning_rates" not in fields:
        return
    solvers = fields["solvers"]
    used, given = any(SOLVERS[name].learning_rate for name in solvers), fields["learning_rates"].size > 0
    if used and not given:
        faults.add("dynamics.learning_rate is missing")
    elif "learning_rate" in fields["optional_dims"] and not used:
        rated = " or ".join(repr(solver.name) for solver in SOLVERS.values() if solver.learning_rate)
        faults.add(
            f"dynamics.learning_rate is an axis, but {' and '.join(solvers)} has none; "
            f"add {rated} to dynamics.solver, or give one number"
        )
    elif not used:
        fields["learning_rates"] = np.empty(0)


def settle_adapter(fields: dict[str, Any], given: Mapping[str, Any], faults: Faults) -> None:
    """Note a balance that is asked for of adapters. They are taken as they are drawn, balanced or not."""
    if "init" not in fields or not fields["init"].kind.adapter:
        return
    if given.get("balance") is True:
        faults.add(
            f"init.balance is true, and init.kind is {fields['init'].kind.name!r}; the draw of an adapter "
            "decides its balance, so leave it out"
        )
    fields["balance"] = False


def settle_lam(fields: dict[str, Any], given: Mapping[str, Any], faults: Faults) -> None:
    """Note where lam is missing, or is no axis because starts are not balanced; it is 0 in a spec then."""
    if "balance" not in fields or "lams" not in fields:
        return
    if fields["balance"]:
        if fields["lams"] is None:
            faults.add("axes.lam is missing")
            del fields["lams"]
        return
    for name in ("lam", "kappa"):
        if given.get(name) is not None:
            adapter = "init" in fields and fields["init"].kind.adapter
            reason = "init.kind is 'lora'" if adapter else "init.balance is false"
            faults.add(
                f"axes.{name} is given, and {reason}; weights as they are drawn have no {name} "
                f"to set, so leave it out (the observable fit_{name} tells which fits best)"
            )
    fields["lams"] = np.zeros(1)


def check_start(fields: Mapping[str, Any], laws: Sequence[TaskLaw], faults: Faults) -> None:
    """Note a start that does not fit an architecture, or lacks weights or a balance where they are needed."""
    _check_sizes(fields, laws, faults)
    if fields["balance"]:
        return
    kind = fields["init"].kind
    if kind.adapter:
        return _check_adapter(fields, faults)
    if not kind.raw:
        drawn = ", ".join(repr(other.name) for other in INIT_KINDS.values() if other.raw)
        faults.add(
            f"init.balance is false, and init.kind is {kind.name!r}, which draws no weights; "
            f"needed is {drawn}"
        )
    if any(SOLVERS[name].balanced for name in fields["solvers"]):
        faults.add(
            "dynamics.solver is 'exact', which needs balanced weights, and init.balance is false; "
            "use 'flow', which follows any weights to a tolerance"
        )


def _check_sizes(fields: Mapping[str, Any], laws: Sequence[TaskLaw], faults: Faults) -> None:
    """Note architectures that have no start of the kind."""
    init: Choice[InitKind] = fields["init"]
    samples = getattr(laws[0], "n_samples", None)
    try:
        values = chosen_parameters(init, fields["table"], KIND_SECTIONS["init"].prefix)
        starts = [init.kind.law(samples, **each) for each in values]
    except InputError as error:
        faults.add_error(error)
        return
    for index, shape in enumerate(fields["architectures"]):
        if obstacle := next(filter(None, (init.kind.obstacle(law, shape) for law in starts)), None):
            where = f"axes.architecture[{index}]"
            faults.add(f"{where} is {shape}; {obstacle}", "init", "axes.architecture", f"[{index}]")


def _check_adapter(fields: Mapping[str, Any], faults: Faults) -> None:
    """Note adapters for a solver that needs balance, and architectures without a direction to turn to."""
    values, exact = fields["init"].values, any(SOLVERS[name].balanced for name in fields["solvers"])
    if exact and "gaussian" in np.atleast_1d(values["adapter"]):
        faults.add(
            "dynamics.solver is 'exact', and init.adapter is 'gaussian', which has no balance; use 'flow', "
            "or the adapter 'orthonormal' or 'spectral'"
        )
    if exact and any(fields["decay"]):
        faults.add(
            "dynamics.solver is 'exact', and dynamics.decay is not 0; adapters have lam below 0, so use "
            "'flow'"
        )
    if (np.abs(values["similarity"]) < 1.0).any():
        for index, shape in enumerate(fields["architectures"]):
            if shape.n_i == shape.n_o == 1:
                where = f"axes.architecture[{index}]"
                faults.add(
                    f"{where} is {shape}; a task of one input and one output has no target at an angle"
                )


def check_observables(fields: Mapping[str, Any], faults: Faults) -> None:
    """Note observables of adapters of a sweep without them."""
    if fields["init"].kind.adapter:
        return
    for name in fields["observables"]:
        if entry_of(name).of_adapter:
            faults.add(f"{name} in output.observables is of adapters, which init.kind 'lora' draws")


def check_kappa(kappas: NDArray[np.float64], architectures: Sequence[Architecture], faults: Faults) -> None:
    """Note architectures that are too narrow for every kappa. At some kappa they may be absent."""
    if not (kappas > 0.0).all():
        return
    for index, shape in enumerate(architectures):
        if not shape.sizes.has_two_sided:
            faults.add(
                f"axes.architecture[{index}] is {shape}; kappa > 0 needs N_h >= N_i + N_o = "
                f"{shape.sizes.units} (an axis with kappa = 0, too, keeps narrower networks there)",
                "kappa",
                "axes.architecture",
                f"[{index}]",
            )


def check_settings(
    fields: Mapping[str, Any], tables: Mapping[str, Any], laws: Sequence[TaskLaw], faults: Faults
) -> None:
    """Note settings that no solver of the spec has, and batches that are larger than the data."""
    solvers = [SOLVERS[name] for name in fields["solvers"]]
    for key, used in (
        ("tolerance", any(solver.adaptive for solver in solvers)),
        ("max_steps", any(solver.adaptive for solver in solvers)),
        ("batch_size", any(solver.learning_rate for solver in solvers)),
        ("label_noise", any(solver.learning_rate for solver in solvers)),
    ):
        if tables["dynamics"].get(key) is not None and not used:
            owner = "flow" if key in ("tolerance", "max_steps") else "gradient_descent"
            faults.add(f"dynamics.{key} is for the solver {owner!r}, which is not in dynamics.solver")
    size, counts = fields["batch_size"], [getattr(law, "n_samples", None) for law in laws]
    samples = None if None in counts else min(filter(None, counts))
    if size is not None and samples is not None and size > samples:
        faults.add(f"dynamics.batch_size is {size}; the task has {samples} samples")
    noisy = size is not None or fields["label_noise"] > 0.0
    if noisy and samples is None:
        kind = fields["task"].kind.name
        faults.add(
            f"dynamics.batch_size and dynamics.label_noise need samples, which task.kind {kind!r} lacks"
        )
    if tables["axes"].get("noise_seed") is not None and not noisy:
        faults.add(
            "axes.noise_seed is given without noise; it needs dynamics.batch_size or dynamics.label_noise"
        )


def check_decay(fields: Mapping[str, Any], faults: Faults) -> None:
    """Note decay that has no exact solution: it has one at lam = 0 for equal rates of both layers."""
    first, second = fields["decay"]
    if not (first or second) or not any(SOLVERS[name].balanced for name in fields["solvers"]):
        return
    # A layer shrinks at its decay times its learning rate.
    equal = np.isclose(first, second * fields["rate_ratios"], rtol=1e-12, atol=0.0).all()
    if fields["lams"].any() or fields["kappas"].any() or not equal:
        faults.add(
            "dynamics.decay is exact only at lam = kappa = 0, for layers that shrink at equal rates; "
            "use the solver 'flow'"
        )


def check_sequence(fields: Mapping[str, Any], faults: Faults) -> None:
    """Note observables of a sequence of tasks without one, and settings that a sequence does not have."""
    names = fields["observables"]
    if not stage_count(fields["task"]):
        for name in names:
            if name in OF_SEQUENCE:
                faults.add(
                    f"{name} in output.observables compares tasks in a row; it needs [[task.sequence]]"
                )
        return
    for name in names:
        if name not in OF_SEQUENCE and not REGISTRY[name].outputs:
            faults.add(
                f"{name} in output.observables is of one task, and [[task.sequence]] has several; "
                f"instead there is {', '.join(OF_SEQUENCE)}"
            )
    for key, given in (
        ("dynamics.solver 'gradient_descent'", "gradient_descent" in fields["solvers"]),
        ("dynamics.decay", any(fields["decay"])),
        (f"init.kind {fields['init'].kind.name!r}", fields["init"].kind.adapter),
        ("axes.rate_ratio", (fields["rate_ratios"] != 1.0).any()),
        ("output.reduce", fields["reduce"] is not None),
    ):
        if given:
            faults.add(f"{key} is given, and [[task.sequence]] does not take it: stages are the plain flow")
    if (largest := int(fields["seeds"].max())) >= SEEDS_OF_STAGE:
        faults.add(f"axes.seed has {largest}; with [[task.sequence]] seeds are below 2^56")


def check_time_scales(fields: Mapping[str, Any], laws: Sequence[TaskLaw], faults: Faults) -> None:
    """Note time scales of networks that have none: they are of the exact flow of balanced weights."""
    names = [name for name in fields["observables"] if entry_of(name).scale is not None]
    if not names:
        return
    scale = f"{names[0]} in output.observables is a time scale of the exact flow of balanced weights"
    if not fields["balance"] and not fields["init"].kind.adapter:
        faults.add(f"{scale}, and init.balance is false")
    if not all(law.white for law in laws):
        faults.add(f"{scale} for whitened inputs, and those of the task are not")
    if fields["init"].kind.adapter and "gaussian" in np.atleast_1d(fields["init"].values["adapter"]):
        faults.add(f"{scale}, and init.adapter is 'gaussian'")
    if any(SOLVERS[name].adaptive for name in fields["solvers"]):
        faults.add(f"{scale}; it is not for the solver 'flow'")
    if any(fields["decay"]):
        faults.add(f"{scale}, and dynamics.decay is not 0")
    others = [name for name in names if REGISTRY[name].scale != Scale.CONVERGENCE]
    if others and (fields["kappas"] > 0.0).any():
        faults.add(f"{others[0]} in output.observables: escape and rotation times do not apply for kappa > 0")


def check_task(
    kind: TaskKind, laws: Sequence[TaskLaw], architectures: Sequence[Architecture], faults: Faults
) -> None:
    """Note architectures for which no task can be drawn."""
    # The first fault is shown in full, so that it is one with the most inputs.
    for index, shape in sorted(enumerate(architectures), key=lambda item: -item[1].n_i):
        if obstacle := next(filter(None, (kind.obstacle(law, shape) for law in laws)), None):
            where = f"axes.architecture[{index}]"
            faults.add(f"{where} is {shape}; {obstacle}", "task", "axes.architecture", f"[{index}]")


def check_finite(solvers: Sequence[str], times: NDArray[np.float64], faults: Faults) -> bool:
    """Note an infinite time of a solver with finite times only, and return whether there is none."""
    finite = [SOLVERS[name].label for name in solvers if SOLVERS[name].finite_times]
    if finite and np.isinf(times[-1]):
        faults.add(f"dynamics.times holds inf; {finite[0]} needs finite times, only exact has the limit")
        return False
    return True


def check_steps(times: NDArray[np.float64], rates: NDArray[np.float64], faults: Faults) -> None:
    """Note times that cannot be recorded at the steps of some learning rates."""
    for rate in rates.tolist():
        _check_steps(times, rate, faults)


def _check_steps(times: NDArray[np.float64], rate: float, faults: Faults) -> None:
    """Note times that are too many steps, or that share a step with another time, at one learning rate."""
    with np.errstate(over="ignore"):
        steps = np.rint(times / rate)
    where = ("dynamics.learning_rate ", f"{rate:g}")
    if steps[-1] > MAX_STEPS:
        faults.add(
            f"dynamics.times ends after {steps[-1]:.0e} steps of learning_rate {rate:g}; "
            f"at most {MAX_STEPS:.0e} are allowed",
            "too many steps",
            *where,
        )
        return
    same = np.flatnonzero(np.diff(steps, prepend=0 if times[0] > 0 else -1) == 0)
    if same.size:
        faults.add(
            f"dynamics.times: {times[same[0]]:g} is no step of its own at learning_rate {rate:g}; "
            "gradient descent is recorded at whole steps, so leave times further apart, or lower the rate",
            "shared steps",
            *where,
        )
