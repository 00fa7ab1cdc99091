"""The spec of a sweep. It is read from TOML and checked in full before anything is computed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels import Problem
from fastlin.kernels.batch import FlowControl
from fastlin.kernels.codes import Start
from fastlin.kernels.stochastic_descent import Noise
from fastlin.kinds.initialisation import InitKind
from fastlin.kinds.own_data import identity
from fastlin.kinds.parameters import Choice
from fastlin.kinds.task_kinds import TaskKind
from fastlin.observables.registry import Observable
from fastlin.observables.stages import entry_of
from fastlin.paths import user_path
from fastlin.solvers import SOLVERS, Settings
from fastlin.sweeps import presets
from fastlin.sweeps.spec.entry import write_table
from fastlin.sweeps.spec.points import POINT, SECTION, PointTable, chosen_parameters
from fastlin.sweeps.spec.reader import read_spec
from fastlin.sweeps.spec.reduction import Reduction
from fastlin.sweeps.spec.sequence import stage_count
from fastlin.sweeps.spec.table import KIND_SECTIONS, SECTIONS, entries_of, optional_axes, parameter_axes
from fastlin.validation import shown, suggest
from fastlin.weights.rates import Rates

# Keys that change no number of a store. They are no part of a spec's identity.
INCIDENTAL = (("name",), ("output", "durable"))


@dataclass(frozen=True, eq=False)
class Spec:
    """A sweep: the product of its axes, or a table of points, and the settings of its points.

    `Spec.load` makes one from a file or the name of a preset, `Spec.from_dict` from a mapping. All arrays
    are sorted.

    Attributes
    ----------
    name : str
        Title of the sweep. It changes no result.
    architectures : tuple of Architecture
        Sizes of the networks, in the order of the spec.
    init_scales : ndarray of float64, (scales,)
        Factors of the raw weights of both layers: the standard deviations of Gaussian ones.
    seeds : ndarray of int64, (seeds,)
        Seeds of the task and of the raw weights.
    lams : ndarray of float64, (lam,)
        Relative scales of the layers, in the unit of squared weights.
    times : ndarray of float64, (times,)
        Times in units of tau. The last one may be infinite.
    task : Choice of TaskKind
        Kind of the task and its parameters. A parameter that is an axis has an array of values.
    init : Choice of InitKind
        Kind of the start and its parameters, likewise.
    solvers : tuple of str
        Names of the solvers, in the order of the spec.
    learning_rates : ndarray of float64, (rates,)
        Learning rates, in units of tau. The array is empty if no solver has one.
    kappas : ndarray of float64, (kappas,)
        kappa >= 0 of two-sided balance, in the unit of squared weights.
    rate_ratios : ndarray of float64, (ratios,)
        Learning rate of W2 over that of W1.
    noise_seeds : ndarray of int64, (noise_seeds,)
        Seeds of minibatches and label noise.
    optional_dims : frozenset of str
        Dimensions that the store has because their values are a list or a range. Each of "solver",
        "learning_rate", "kappa", "rate_ratio", "noise_seed" and the parameters of [task] and [init] has one
        value otherwise.
    balance : bool
        Whether weights are balanced to lam and kappa. Otherwise they are taken as drawn, and `lams` is [0].
    tolerance : float
        Error of a step of the flow.
    max_steps : int
        Most steps of the flow.
    decay : tuple of float, (2,)
        Weight decay of W1 and of W2, multiplied by their learning rates.
    batch_size : int or None
        Samples of a minibatch of gradient descent.
    label_noise : float
        Standard deviation of the noise in the targets of gradient descent.
    observables : tuple of str
        Names of the observables that are stored.
    fraction : float
        Fraction of the achievable loss drop whose time the observable convergence_time is.
    dtype : str
        Type of the stored numbers, "float64" or "float32".
    durable : bool
        Whether all files are synced to disk. It changes no result.
    reduce : Reduction or None
        Statistics over the seeds that are stored instead of every point.
    table : PointTable or None
        The points of a sweep that is no product. The axes hold the distinct values of its columns.

    Examples
    --------
    >>> spec = fl.Spec.load("rich-lazy")
    >>> spec.points, spec.point_dims
    (72400, {'architecture': 4, 'init_scale': 1, 'seed': 100, 'lam': 181})
    >>> [str(arch) for arch in spec.architectures]
    ['4-2-2', '4-4-4', '2-2-4', '4-2-4']
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
    learning_rates: NDArray[np.float64]
    kappas: NDArray[np.float64]
    rate_ratios: NDArray[np.float64]
    noise_seeds: NDArray[np.int64]
    optional_dims: frozenset[str]
    balance: bool
    tolerance: float
    max_steps: int
    decay: tuple[float, float]
    batch_size: int | None
    label_noise: float
    observables: tuple[str, ...]
    fraction: float
    dtype: str
    durable: bool
    reduce: Reduction | None
    table: PointTable | None = None

    @classmethod
    def read(
        cls,
        source: Spec | Mapping[str, Any] | str | Path,
        points: Any = None,
        task: Any = None,
        init: Any = None,
    ) -> Spec:
        """Return the spec that is given in any of its forms: itself, its content, a file, or a preset's name.

        Parameters
        ----------
        source : Spec, mapping, str or Path
            Any of these forms.
        points : mapping, DataFrame or Dataset, optional
            The table of [points], instead of that of the spec.
        task : Task, or list or mapping of names to Task, optional
            Own data in place of [task]. Several are the axis "task".
        init : Network, or list or mapping of names to Network, optional
            Own weights in place of the kind of [init]. Several are the axis "init_network".

        Returns
        -------
        Spec

        Raises
        ------
        InputError
            If it is not a valid spec.

        Examples
        --------
        >>> fl.Spec.read("rich-lazy") == fl.Spec.read(fl.Spec.load("rich-lazy").to_dict())
        True
        """
        own = _own_sections(points, task, init)
        if isinstance(source, str | Path):
            return cls._loaded(source, own)
        if isinstance(source, Spec):
            return source if not own else cls.from_dict(_with_own(source._whole(), own))
        return cls.from_dict(_with_own(source, own))

    @classmethod
    def load(cls, source: str | Path) -> Spec:
        """Read a TOML file, a preset by its name, or the JSON text that stores keep.

        Parameters
        ----------
        source : str or Path
            A leading ~ of a path is the home folder.

        Returns
        -------
        Spec

        Raises
        ------
        InputError
            If there is no such file or preset, or it is not TOML. If it is not a valid spec, the message has
            one line for each kind of fault.

        Examples
        --------
        >>> fl.Spec.load("rich-lazy").lams.size
        181
        >>> with open("mine.toml", "w") as file:
        ...     _ = file.write(fl.Spec.load("rich-lazy").to_toml())
        >>> fl.Spec.load("mine.toml") == fl.Spec.load("rich-lazy")
        True
        """
        if not isinstance(source, str | Path):
            raise InputError(f"source is {shown(source)}; a path or the name of a preset is needed")
        return cls._loaded(source, {})

    @classmethod
    def _loaded(cls, source: str | Path, own: Mapping[str, Any]) -> Spec:
        """Read a source of `load`, with own sections in place of some."""
        if isinstance(source, str) and source.lstrip().startswith("{"):
            return cls.from_dict(_with_own(_json(source), own))
        text = _text(source)
        folder = "." if str(source) in presets.names() else user_path(source).parent
        try:
            return cls.from_dict(_with_own(tomllib.loads(text), own), folder)
        except InputError as error:
            faults = [f"{source}: {line}" for line in str(error).splitlines()]
            raise InputError("\n".join(faults)) from None
        except (ValueError, RecursionError) as error:  # from the parser: no TOML, or too much for it
            raise InputError(f"{source} is not TOML: {error}") from None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: str | Path = ".") -> Spec:
        """Read the content of a TOML spec, or of `to_dict`.

        Parameters
        ----------
        content : Mapping
            The tables of a spec. Arrays, ranges and tuples count as lists, and an `Architecture` may replace
            three sizes.
        folder : str or Path
            The folder of files that the spec names. By default the current one.

        Returns
        -------
        Spec

        Raises
        ------
        InputError
            With one line for each kind of fault.

        Examples
        --------
        >>> axes = {"architecture": "4-2-4", "seed": {"start": 0, "num": 5}, "lam": [-1.0, 1.0]}
        >>> dynamics = {"times": [0.0, 1.0, np.inf]}
        >>> fl.Spec.from_dict({"axes": axes, "task": {"n_samples": 10}, "dynamics": dynamics}).points
        10
        """
        return cls(**read_spec(content, Path(folder)))

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """Read the JSON text of a spec, which stores and their datasets have in the attribute `spec`.

        Parameters
        ----------
        text : str
            JSON, as of `to_json`.

        Returns
        -------
        Spec

        Raises
        ------
        InputError
            If it is not JSON, or not a valid spec.

        Examples
        --------
        >>> fl.Spec.from_json(fl.open_sweep("small.zarr").attrs["spec"]).points
        180
        """
        return cls.from_dict(_json(text))

    def to_json(self) -> str:
        """Return the resolved spec as JSON text.

        Returns
        -------
        str

        Examples
        --------
        >>> fl.Spec.load("rich-lazy").to_json()[:21]
        '{"name": "rich-lazy",'
        """
        return json.dumps(self.to_dict(), allow_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the resolved spec: every default filled in, every axis in one form, JSON-ready.

        Returns
        -------
        dict

        Examples
        --------
        >>> fl.Spec.load("rich-lazy").to_dict()["task"]
        {'kind': 'random_regression', 'n_samples': 10, 'target_scale': 1.7320508075688772}
        """
        content = {**write_table(entries_of(""), self), **{name: self._section(name) for name in SECTIONS}}
        return content | {SECTION: self.table.to_dict()} if self.table else content

    def _whole(self) -> dict[str, Any]:
        """Return the resolved spec with its table of points, of which JSON may have the hash alone."""
        return self.to_dict() | ({SECTION: self.table} if self.table else {})

    def _section(self, section: str) -> dict[str, Any]:
        """Return one section without the axes that are columns of [points]."""
        if section in KIND_SECTIONS:
            kinds = KIND_SECTIONS[section]
            content = kinds.write(self)
            return {key: content[key] for key in content if kinds.prefix + key not in self.columns}
        return write_table(
            [entry for entry in entries_of(section) if entry.dimension not in self.columns], self
        )

    @property
    def columns(self) -> frozenset[str]:
        """Axes that the columns of [points] replace, by dimension. It is empty for a product."""
        return frozenset((*self.table.columns, "architecture")) if self.table else frozenset()

    def to_toml(self) -> str:
        """Return the resolved spec as TOML, which `load` and ``fastlin run`` read back to the same spec.

        A table of more than 1000 points is named by its hash alone. Its store holds it.

        Returns
        -------
        str

        Examples
        --------
        >>> print(fl.Spec.load("rich-lazy").to_toml()[:18])
        name = "rich-lazy"
        """
        content = self.to_dict()
        if self.table is None:
            content["axes"]["architecture"] = [str(shape) for shape in self.architectures]
        return tomli_w.dumps(_with_infinity(content))

    @property
    def hash(self) -> str:
        """SHA-256 of the resolved spec without its incidental keys. A store knows its spec by it."""
        text = json.dumps(essential(self.to_dict()), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        """Return whether both are written the same, which is more than the same hash: names count."""
        return isinstance(other, Spec) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        """Return the number of the hash."""
        return hash(self.hash)

    @cached_property
    def optional_axes(self) -> dict[str, NDArray[Any]]:
        """Values of the axes that are dimensions only where they are a list or a range, by dimension.

        First come "solver", "learning_rate", "kappa", "rate_ratio" and "noise_seed", which have one value
        otherwise. A spec without learning rates has an empty array of them. Parameters of [task] by their
        keys and of [init] as "init_KEY" follow where they are a list or a range.
        """
        return optional_axes(self)

    @property
    def parameter_axes(self) -> dict[str, NDArray[Any]]:
        """Values of the parameters of [task] and [init] that are axes, by dimension."""
        return parameter_axes(self)

    def values_at(self, indices: Mapping[str, int]) -> dict[str, Any]:
        """Return init_scale and the values on the optional axes at some indices, by default the first.

        Parameters
        ----------
        indices : mapping of str to int
            Indices by dimension.

        Returns
        -------
        dict

        Examples
        --------
        >>> fl.Spec.load("rich-lazy").values_at({})
        {'init_scale': 1.0, 'solver': 'exact', 'kappa': 0.0, 'rate_ratio': 1.0, 'noise_seed': 0}
        """
        values = {"init_scale": self.init_scales} | self.optional_axes
        return {name: axis[indices.get(name, 0)].item() for name, axis in values.items() if axis.size}

    def problem(self, chosen: Mapping[str, Any]) -> Problem:
        """Return the laws of tasks and starts at one init_scale and these values on the optional axes.

        Parameters
        ----------
        chosen : mapping
            Values by dimension, as of `values_at`.

        Returns
        -------
        fastlin.kernels.Problem

        Examples
        --------
        >>> spec = fl.Spec.load("rich-lazy")
        >>> spec.problem(spec.values_at({})).task
        RegressionTask(n_samples=10, target_scale=1.7320508075688772)
        """
        task, init = self._parameters("task", chosen), self._parameters("init", chosen)
        law = self.task.kind.law(**task)
        start = self.init.kind.law(getattr(law, "n_samples", None), **init)
        return Problem(law, start, chosen["init_scale"])

    def _parameters(self, section: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return one value of each parameter of a task or a start."""
        return KIND_SECTIONS[section].at(self, chosen)

    def settings(self, chosen: Mapping[str, Any]) -> Settings:
        """Return the settings of points with these values on the optional axes.

        Learning rates e1 and e2 of the layers, with e1 e2 = 1, are a substitution of the weights:
        ``U1 = sqrt(e2) W1``, ``U2 = sqrt(e1) W2``. Kernels see U, whose decay is that of W times the rate.

        Parameters
        ----------
        chosen : mapping
            Values by dimension, as of `values_at`.

        Returns
        -------
        fastlin.solvers.Settings

        Examples
        --------
        >>> spec = fl.Spec.load("rich-lazy")
        >>> spec.settings(spec.values_at({})).decay
        (0.0, 0.0)
        """
        kappa, rates = float(chosen["kappa"]), Rates.of_ratio(chosen["rate_ratio"])
        return Settings(
            start=self.start(kappa),
            kappa=kappa,
            learning_rate=float(chosen.get("learning_rate", math.nan)),
            decay=(rates.first * self.decay[0], rates.second * self.decay[1]),
            control=FlowControl(self.tolerance, self.max_steps),
            noise=self._noise(chosen),
        )

    def start(self, kappa: float) -> Start:
        """Return the kind of start at one kappa.

        Parameters
        ----------
        kappa : float
            At least 0.

        Returns
        -------
        fastlin.kernels.codes.Start

        Examples
        --------
        >>> fl.Spec.load("rich-lazy").start(0.5).name
        'TWO_SIDED'
        """
        if not self.balance:
            return Start.RAW
        return Start.TWO_SIDED if kappa else Start.BALANCED

    @property
    def starts(self) -> frozenset[Start]:
        """The kinds of start that points have."""
        return frozenset(self.start(float(kappa)) for kappa in (self.kappas.min(), self.kappas.max()))

    def _noise(self, chosen: Mapping[str, Any]) -> Noise | None:
        """Return the noise of a seed. All samples are one batch by default."""
        if not self.noisy:
            return None
        law: Any = self.task.kind.law(**self._parameters("task", chosen))
        return Noise(self.batch_size or law.n_samples, self.label_noise, int(chosen["noise_seed"]))

    @cached_property
    def white(self) -> bool:
        """Whether the inputs of all tasks are whitened."""
        tasks = chosen_parameters(self.task, self.table)
        return all(self.task.kind.law(**values).white for values in tasks)

    @property
    def stages(self) -> int:
        """Number of stages of a sequence of tasks, 0 for one task."""
        return stage_count(self.task)

    def entry(self, name: str) -> Observable:
        """Return an observable as this sweep stores it: by stage in a sequence of tasks.

        Parameters
        ----------
        name : str
            One of `observables`.

        Returns
        -------
        fastlin.observables.registry.Observable

        Examples
        --------
        >>> fl.Spec.load("rich-lazy").entry("loss").equation
        'L = |Y - W2 W1 X|_F^2 / (2 P)'
        """
        return entry_of(name, self.stages)

    @property
    def adaptive(self) -> bool:
        """Whether a solver takes steps of its own size, to a tolerance."""
        return any(SOLVERS[name].adaptive for name in self.solvers)

    @property
    def noisy(self) -> bool:
        """Whether gradient descent draws minibatches or label noise."""
        return self.batch_size is not None or self.label_noise > 0.0

    @property
    def reduction(self) -> Reduction:
        """The statistics over the seeds, of a spec that asks for them."""
        assert self.reduce is not None
        return self.reduce

    def gives(self, statistic: str) -> bool:
        """Return whether a store has a statistic over the seeds, or every point to make it of.

        Parameters
        ----------
        statistic : str
            Such as "mean".

        Returns
        -------
        bool

        Examples
        --------
        >>> fl.Spec.load("rich-lazy").gives("median")  # it keeps every point
        True
        """
        return self.reduce is None or statistic in self.reduce.statistics

    @property
    def point_dims(self) -> dict[str, int]:
        """Dimensions of the grid of points (that of `status`) and their sizes, in order."""
        if self.table:
            seeds = {} if "seed" in self.table else {"seed": self.seeds.size}
            return seeds | {POINT: self.table.num}
        sizes = {"architecture": len(self.architectures), "init_scale": self.init_scales.size}
        sizes |= {name: axis.size for name, axis in self.optional_axes.items() if name in self.optional_dims}
        sizes["seed"] = self.seeds.size
        return sizes | {"lam": self.lams.size} if self.balance else sizes

    @property
    def points(self) -> int:
        """Number of points: networks, each of which is solved at all times."""
        total = 1
        for size in self.point_dims.values():
            total *= size
        return total


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the spec {shown(text)} is not JSON: {error}") from None


def _own_sections(points: Any, task: Any, init: Any) -> dict[str, Any]:
    """Return the sections that are given in Python."""
    own = {
        SECTION: points,
        "task": None if task is None else {"kind": "data", "data": task},
        "init": None if init is None else {"kind": "weights", "data": init},
    }
    return {section: given for section, given in own.items() if given is not None}


def _with_own(content: Any, own: Mapping[str, Any]) -> Any:
    """Return the content of a spec with own sections. Own weights are balanced or not as in the spec."""
    if not own or not isinstance(content, Mapping):
        return content
    sections, init = {**content, **own}, content.get("init")
    if "init" in own and isinstance(init, Mapping) and "balance" in init:
        sections["init"] = {**own["init"], "balance": init["balance"]}
    return sections


def is_store(source: str | Path) -> bool:
    """Return whether a path is that of a store, which is no file of a spec."""
    return os.path.isfile(os.path.join(user_path(source), "zarr.json"))


def _text(source: str | Path) -> str:
    """Return the TOML of a file or a preset."""
    if str(source) in presets.names():
        return presets.text(str(source))
    if not str(source):
        raise InputError("the spec is ''; needed is a TOML file or the name of a preset")
    try:
        return user_path(source).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        hint = suggest(source, presets.names())
        raise InputError(f"no file {str(source)!r}, nor a preset of that name; {hint}") from None
    except UnicodeDecodeError:
        raise InputError(f"{str(source)!r} is not a text file in UTF-8") from None
    except (OSError, ValueError) as error:  # a ValueError is of a null character
        reason = getattr(error, "strerror", None) or error
        if is_store(source):
            reason = "it is a store; needed is the TOML file of a spec, or the name of a preset"
        raise InputError(f"cannot read {shown(str(source))}: {reason}") from None


def _with_infinity(value: Any) -> Any:
    """Return a table with the number where JSON, which has none, has the text "inf"."""
    if isinstance(value, Mapping):
        return {
            key: math.inf if (key, entry) == ("duration", "inf") else _with_infinity(entry)
            for key, entry in value.items()
        }
    if isinstance(value, list):
        return [math.inf if entry == "inf" else _with_infinity(entry) for entry in value]
    return value


def essential(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved spec without its incidental keys, and with hashes in place of own data."""
    sections = {key: dict(value) if isinstance(value, Mapping) else value for key, value in content.items()}
    for name in KIND_SECTIONS:
        if "data" in sections[name]:
            sections[name]["data"] = identity(sections[name]["data"])
    for *section, key in INCIDENTAL:
        (sections[section[0]] if section else sections).pop(key, None)
    return sections


def differences(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    names: tuple[str, str] = ("the store", "the spec"),
    prefix: str = "",
) -> list[str]:
    """Return one line for each key in which two resolved specs, of these names, differ.

    `prefix` names their section.
    """
    lines = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping) and not prefix:
            lines += differences(before, after, names, f"{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {names[0]} has {_short(before)}, {names[1]} {_short(after)}")
    return lines


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text)} characters)"
