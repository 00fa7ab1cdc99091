"""The spec of a sweep: read from TOML, validated in full before anything is computed."""

import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels import Problem
from fastlin.kinds import Choice, Kind
from fastlin.network import INIT_KINDS, InitKind
from fastlin.observables import FRACTION, check_fraction, sweepable
from fastlin.solvers import SOLVERS
from fastlin.sweeps import presets
from fastlin.sweeps.spec import axes
from fastlin.sweeps.spec.reduction import Reduction
from fastlin.task import MAX_SCALE, MIN_SCALE, TASK_KINDS, TaskKind
from fastlin.validation import check_bool, check_choice, shown, suggest

MAX_STEPS = 10**12
CONVERGENCE = "convergence_time"
T = TypeVar("T")
K = TypeVar("K", bound=Kind)

# The one list of what a spec may hold; "axes" and the two that may become axes are read by `_Reader`.
KEYS = {
    "": ("name", "axes", "task", "init", "dynamics", "output"),
    "axes": ("architecture", "init_scale", "seed", "lam"),
    "task": ("kind",),  # and the parameters of the kind
    "init": ("kind",),
    "dynamics": ("solver", "times", "learning_rate"),
    "output": ("observables", "fraction", "dtype", "durable", "reduce"),
}
DEFAULT_KINDS = {"task": "random_regression", "init": "gaussian"}
# What does not change a number in a store, and so is not part of a spec's identity.
INCIDENTAL = (("name",), ("output", "durable"))


@dataclass(frozen=True, eq=False)
class Spec:
    """A sweep: the product of its axes, and what is computed at each point.

    Made by `Spec.load` (a file or the name of a preset) or `Spec.from_dict`.
    """

    name: str
    architectures: tuple[Architecture, ...]
    init_scales: NDArray[np.float64]
    seeds: NDArray[np.int64]
    lams: NDArray[np.float64]
    times: NDArray[np.float64]
    task: Choice[TaskKind]
    init: Choice[InitKind]
    solvers: tuple[str, ...]
    learning_rates: NDArray[np.float64]  # empty where no gradient descent is run
    solver_axis: bool
    learning_rate_axis: bool
    observables: tuple[str, ...]
    fraction: float  # of the achievable loss drop, for convergence_time
    dtype: str
    durable: bool
    reduce: Reduction | None

    @classmethod
    def load(cls, source: str | Path) -> "Spec":
        """Read a TOML file, or a preset by its name.

        Raises
        ------
        InputError
            If there is no such file or preset, it is not TOML, or not a valid spec: one line per fault.
        """
        path = Path(source)
        if str(source) in presets.names():
            text = presets.text(str(source))
        else:
            try:
                text = path.read_text(encoding="utf-8-sig")
            except FileNotFoundError:
                hint = suggest(source, presets.names())
                raise InputError(f"no file {str(source)!r}, nor a preset of that name; {hint}") from None
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"cannot read {str(source)!r}: {error}") from None
        try:
            return cls.from_dict(tomllib.loads(text))
        except InputError as error:
            faults = [f"{source}: {line}" for line in str(error).splitlines()]
            raise InputError("\n".join(faults)) from None
        except (ValueError, RecursionError) as error:  # what the parser raises for what is too large for it
            raise InputError(f"{source} is not TOML: {error}") from None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Spec":
        """Read the content of a TOML spec (arrays, ranges and tuples count as lists), or of `to_dict`.

        Raises
        ------
        InputError
            With one line per fault.
        """
        if not isinstance(content, Mapping):
            raise InputError(f"a spec is {shown(content)}; needed is a mapping, a TOML file or a preset")
        reader = _Reader(_plain(content))
        spec = reader.spec()
        if reader.faults or spec is None:
            raise InputError("\n".join(reader.faults))
        return spec

    def to_dict(self) -> dict[str, Any]:
        """Return the resolved spec: every default filled in, every axis in one form, JSON-ready."""
        dynamics: dict[str, Any] = {
            "solver": list(self.solvers) if self.solver_axis else self.solvers[0],
            "times": axes.compact(self.times),
        }
        if self.learning_rates.size:
            rates = axes.compact(self.learning_rates)
            dynamics["learning_rate"] = rates if self.learning_rate_axis else rates[0]
        return {
            "name": self.name,
            "axes": {
                "architecture": [[a.n_i, a.n_h, a.n_o] for a in self.architectures],
                "init_scale": axes.compact(self.init_scales),
                "seed": axes.compact(self.seeds),
                "lam": axes.compact(self.lams),
            },
            "task": self.task.to_dict(),
            "init": self.init.to_dict(),
            "dynamics": dynamics,
            "output": {
                "observables": list(self.observables),
                **({"fraction": self.fraction} if CONVERGENCE in self.observables else {}),
                "dtype": self.dtype,
                **({"durable": True} if self.durable else {}),
                **({"reduce": self.reduce.to_dict()} if self.reduce else {}),
            },
        }

    @property
    def hash(self) -> str:
        """SHA-256 of the resolved spec without what is incidental, by which a store knows its own."""
        text = json.dumps(essential(self.to_dict()), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def problem(self, init_scale: float) -> Problem:
        """Return the laws of tasks and starts at one of the init_scales."""
        n_samples = self.task.values.get("n_samples")
        start = self.init.kind.law(n_samples, **self.init.values)
        return Problem(self.task.kind.law(**self.task.values), start, init_scale)

    @property
    def point_dims(self) -> dict[str, int]:
        """Dimensions of the grid of points (that of `status`) and their sizes, in order."""
        sizes = {"architecture": len(self.architectures), "init_scale": self.init_scales.size}
        if self.solver_axis:
            sizes["solver"] = len(self.solvers)
        if self.learning_rate_axis:
            sizes["learning_rate"] = self.learning_rates.size
        return {**sizes, "seed": self.seeds.size, "lam": self.lams.size}

    @property
    def points(self) -> int:
        """Number of configurations, each solved at all times."""
        total = 1
        for size in self.point_dims.values():
            total *= size
        return total


def essential(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved spec without its incidental keys."""
    sections = {key: dict(value) if isinstance(value, Mapping) else value for key, value in content.items()}
    for *section, key in INCIDENTAL:
        (sections[section[0]] if section else sections).pop(key, None)
    return sections


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return one line per key in which two resolved specs, or parts of such, differ."""
    lines = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping) and not prefix:
            lines += differences(before, after, f"{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: the store has {_short(before)}, the spec {_short(after)}")
    return lines


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text)} characters)"


def _plain(value: Any) -> Any:
    """Return a spec as TOML would have it: arrays, ranges and tuples as lists, NumPy scalars as numbers."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(entry) for entry in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


class _Reader:
    """Reads one spec and gathers every fault, so that one run shows them all."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content
        self.faults: list[str] = []
        self._check_keys("", content, KEYS[""])
        for section in KEYS[""][1:]:
            self._check_keys(section, self._section(section), self._known_keys(section))

    def _section(self, name: str) -> Mapping[str, Any]:
        section = self.content.get(name, {})
        return section if isinstance(section, Mapping) else {}

    def _known_keys(self, section: str) -> tuple[str, ...]:
        """Return the keys of a section, with those of the kind that it names."""
        if section not in DEFAULT_KINDS:
            return KEYS[section]
        name = str(self._section(section).get("kind", DEFAULT_KINDS[section]))
        kind = TASK_KINDS.get(name) if section == "task" else INIT_KINDS.get(name)
        return (*KEYS[section], *(kind.parameters if kind else ()))

    def _choice(self, section: str, kinds: Mapping[str, K]) -> Choice[K] | None:
        """Read a kind and its parameters."""
        name = self.take(
            section, "kind", lambda n, v: check_choice(n, v, list(kinds)), DEFAULT_KINDS[section]
        )
        if name is None:
            return None
        values = {
            key: self.take(section, key, parameter.read, parameter.default)
            for key, parameter in kinds[name].parameters.items()
        }
        return None if None in values.values() else Choice(kinds[name], values)

    def _check_keys(self, name: str, section: Mapping[str, Any], known: tuple[str, ...]) -> None:
        where = f"[{name}]" if name else "the spec"
        for key, value in section.items():
            if key not in known:
                hint = suggest(key, known)
                self.faults.append(f"{where} has the unknown key {key!r}; {hint}")
            elif not name and key != "name" and not isinstance(value, Mapping):
                self.faults.append(f"{key} is {shown(value)}; a table [{key}] is needed")

    def take(self, section: str, key: str, read: Callable[[str, Any], T], default: Any = None) -> T | None:
        """Read one entry; a fault is noted and None returned."""
        value = self._section(section).get(key, default)
        name = f"{section}.{key}"
        if value is None:
            self.faults.append(f"{name} is missing")
            return None
        try:
            return read(name, value)
        except InputError as error:
            self.faults.append(str(error))
            return None

    def spec(self) -> Spec | None:
        """Return the spec, or None where faults leave none."""
        name = self.content.get("name", "sweep")
        if not isinstance(name, str) or not name:
            self.faults.append(f"name is {shown(name)}; a text is needed")
        scale: dict[str, Any] = {"low": MIN_SCALE, "high": MAX_SCALE}
        solvers = self.take("dynamics", "solver", lambda n, v: axes.texts(n, v, list(SOLVERS)), "exact")
        rates = self._learning_rates(solvers)
        given = self._section("dynamics")
        fields: dict[str, Any] = {
            "architectures": self.take("axes", "architecture", axes.architectures),
            "init_scales": self.take("axes", "init_scale", lambda n, v: axes.reals(n, v, **scale), 1.0),
            "seeds": self.take("axes", "seed", axes.integers),
            "lams": self.take("axes", "lam", axes.reals),
            "times": self.take("dynamics", "times", lambda n, v: axes.reals(n, v, 0.0, infinite=True)),
            "task": self._choice("task", TASK_KINDS),
            "init": self._choice("init", INIT_KINDS),
            "solvers": solvers,
            "learning_rates": rates,
            "observables": self.take(
                "output",
                "observables",
                lambda n, v: axes.texts(n, v, sweepable()),
                ["loss", "kernel_distance"],
            ),
            "fraction": self.take("output", "fraction", check_fraction, FRACTION),
            "dtype": self.take(
                "output", "dtype", lambda n, v: check_choice(n, v, ["float64", "float32"]), "float64"
            ),
            "durable": self.take("output", "durable", check_bool, False),
        }
        reduction = None
        if "reduce" in self._section("output"):
            reduction = self.take("output", "reduce", Reduction.read)
        if any(value is None for value in fields.values()):
            return None
        spec = Spec(
            name=name,
            solver_axis=isinstance(given.get("solver"), list),
            learning_rate_axis=isinstance(given.get("learning_rate"), list | dict) and rates.size > 0,
            reduce=reduction,
            **fields,
        )
        self._check_together(spec)
        return spec

    def _learning_rates(self, solvers: tuple[str, ...] | None) -> NDArray[np.float64]:
        """Read the learning rates; without gradient descent a single one is allowed, and unused."""
        none = np.empty(0)
        given = self._section("dynamics").get("learning_rate")
        rated = [name for name in solvers or () if SOLVERS[name].learning_rate]
        if given is None and not rated:
            return none
        rates = self.take("dynamics", "learning_rate", lambda n, v: axes.reals(n, v, 0.0, above=True))
        if rates is None:
            return none
        if rated:
            return rates
        if isinstance(given, list | dict):
            self.faults.append(
                f"dynamics.learning_rate is an axis, but {' and '.join(solvers or ())} has none; "
                f"add {' or '.join(repr(s.name) for s in SOLVERS.values() if s.learning_rate)} to "
                "dynamics.solver, or give one number"
            )
        return none

    def _check_together(self, spec: Spec) -> None:
        """Note what is wrong between entries that are right by themselves."""
        if "fraction" in self._section("output") and CONVERGENCE not in spec.observables:
            self.faults.append(f"output.fraction is for {CONVERGENCE}, which is not in output.observables")
        law = spec.problem(1.0).task
        for index, architecture in enumerate(spec.architectures):
            if obstacle := spec.task.kind.obstacle(law, architecture.n_i):
                self.faults.append(f"axes.architecture[{index}] is {architecture}; {obstacle}")
        finite = [SOLVERS[name] for name in spec.solvers if SOLVERS[name].finite_times]
        if finite and np.isinf(spec.times[-1]):
            self.faults.append(
                f"dynamics.times holds inf; {finite[0].label} needs finite times, only exact has the limit"
            )
        elif any(SOLVERS[name].learning_rate for name in spec.solvers):
            for rate in spec.learning_rates.tolist():
                self._check_steps(spec.times, rate)

    def _check_steps(self, times: NDArray[np.float64], rate: float) -> None:
        """Note where gradient descent cannot be recorded at `times`, each at a step of its own."""
        with np.errstate(over="ignore"):
            steps = np.rint(times / rate)
        if steps[-1] > MAX_STEPS:
            self.faults.append(
                f"dynamics.times ends after {steps[-1]:.0e} steps of learning_rate {rate:g}; "
                f"at most {MAX_STEPS:.0e} are allowed"
            )
            return
        same = np.flatnonzero(np.diff(steps, prepend=0 if times[0] > 0 else -1) == 0)
        if same.size:
            self.faults.append(
                f"dynamics.times: {times[same[0]]:g} is no step of its own at learning_rate {rate:g}; "
                "gradient descent is recorded at whole steps, so leave times further apart, or lower the rate"
            )
