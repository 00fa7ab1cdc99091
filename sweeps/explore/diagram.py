"""The phase diagram of a store: its numbers over two axes, and the network behind each of its points."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from fastlin import seed_statistics
from fastlin.architecture import Architecture, sizes_of
from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.observables.regimes import THRESHOLD
from fastlin.observables.registry import REGISTRY
from fastlin.observables.stages import OF_SEQUENCE, entry_of
from fastlin.plot import scales, sizes
from fastlin.plot.planes import grid_over
from fastlin.plot.style import default_index, spelt
from fastlin.sweeps.explore.problem import LAST_OF_FLOW, Problem
from fastlin.sweeps.explore.state import BALANCED, HIERARCHY, REGRESSION, STARTS, Choice, python
from fastlin.sweeps.read.open import open_sweep, reading
from fastlin.sweeps.read.rebuild import at_row, rebuild
from fastlin.sweeps.spec.points import POINT
from fastlin.sweeps.spec.spec import Spec
from fastlin.weights.rates import Rates

DISTANCE = "kernel_distance"
SEEDS = ("seed", "seed_block", "statistic", "bin_left", "bin_right")
# Candidates for the axes, the first two that can be drawn are taken.
AXES = ("lam", "time", "init_scale", "kappa", "rate_ratio", "learning_rate", *sizes.SIZES)
NOT_OF_NETWORK = ("solver", "learning_rate", "noise_seed", "time", "stage", "task", *SEEDS)
TASKS = {"random_regression": REGRESSION, "hierarchy": HIERARCHY}
MOST_CELLS = 20_000  # More are thinned evenly, so that the page stays fast.


@dataclass(frozen=True)
class StorePoint:
    """The network behind a point of a store.

    Attributes
    ----------
    dataset : xarray.Dataset
        From `open_sweep`.
    path : str
        The store, as it was named.
    call : tuple of (str, value)
        Arguments of `rebuild`.
    settings : dict
        Values of the point that sliders show, by their names.
    """

    dataset: xr.Dataset = field(compare=False, repr=False)
    path: str
    call: tuple[tuple[str, Any], ...]
    settings: Mapping[str, Any] = field(compare=False, default_factory=dict)

    def problem(self) -> Problem:
        """Return the task and the network of the store."""
        task, net = rebuild(self.dataset, **dict(self.call))
        notes: tuple[str, ...] = ()
        if stages := isinstance(task, list):
            notes = (f"The point is a sequence of {len(task)} tasks. The first one is drawn.",)
            task = task[0][0]
        ratio = float(self.settings.get("rate_ratio", 1.0))
        rates = None if ratio == 1.0 or task.learning_rates is not None else Rates.of_ratio(ratio)
        arguments = ", ".join(f"{name}={python(value)}" for name, value in self.call)
        code = [f"ds = fl.open_sweep({python(self.path)})"]
        code.append(f"task, net = fl.rebuild(ds, {arguments})")
        code += ["task = task[0][0]"] if stages else []
        title = f"{net.architecture.family} network {net.architecture} of the store"
        last = _last_time(self.dataset)
        return Problem(task, net, tuple(code), title, rates, _decay(self.dataset), last, notes)

    def choice(self, base: Choice) -> Choice:
        """Return the sliders' choice that is nearest to the point."""
        return replace(base, **self.settings)


def _decay(dataset: xr.Dataset) -> tuple[float, float]:
    """Return the weight decay of the layers in a store."""
    decay = json.loads(dataset.attrs["spec"])["dynamics"].get("decay", 0.0)
    first, second = decay if isinstance(decay, list) else (decay, decay)
    return float(first), float(second)


def _last_time(dataset: xr.Dataset) -> float:
    """Return the last finite time of a store, up to which a flow of it is drawn."""
    times = np.atleast_1d(dataset["time"].values) if "time" in dataset.coords else np.array([])
    return float(times[np.isfinite(times) & (times > 0.0)].max(initial=0.0)) or LAST_OF_FLOW


@dataclass(frozen=True)
class View:
    """Which numbers of a store a diagram shows: an observable over two axes, and values of all others."""

    observable: str
    x: str
    y: str
    others: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Cells:
    """Numbers of a diagram, one for each cell or each dot.

    Attributes
    ----------
    x, y : ndarray, (n,)
        Centres.
    edges : tuple of ndarray, (n,), optional
        Left, right, bottom and top of cells. Dots have none.
    value : ndarray, (n,)
        Finite numbers.
    at : ndarray, (n,)
        Rows of a table, or places in the grid.
    log_x, log_y, log_values : bool
        Whether the scales are logarithmic.
    limits : tuple of float
        Ends of the scale of colours.
    grid : tuple of ndarray
        Of cells the axes x (k,) and y (m,) and the values (m, k), for contours.
    levels : tuple of float
        Kernel distances at which regimes change, as far as the numbers cross them.
    """

    x: Array
    y: Array
    value: Array
    at: Integers
    log_x: bool
    log_y: bool
    log_values: bool
    limits: tuple[float, float]
    edges: tuple[Array, Array, Array, Array] | None = None
    grid: tuple[Array, Array, Array] | None = None
    levels: tuple[float, ...] = ()


class Sweep:
    """A store of a product of axes.

    Parameters
    ----------
    path : str
        The store.
    dataset : xarray.Dataset
        From `open_sweep`.
    """

    def __init__(self, path: str, dataset: xr.Dataset) -> None:
        self.path, self.dataset = path, dataset
        self.name = str(dataset.attrs.get("title") or "sweep")
        if not self.observables:
            raise InputError(
                f"{path} holds no number that a diagram shows: one for each point, over two axes"
            )

    @cached_property
    def observables(self) -> dict[str, str]:
        """Observables that can be drawn, and the words for each. Layers are apart, as "weight_norms:w1"."""
        names = {}
        for name in (*REGISTRY, *OF_SEQUENCE):
            if name in self.dataset:
                own = [str(dim) for dim in entry_of(name).dims if dim in self.dataset[name].dims]
                for labels in product(*(self.dataset[dim].values.tolist() for dim in own)):
                    key = ":".join((name, *map(str, labels)))
                    words = " ".join((spelt(name), *map(str, labels)))
                    if len(self.axes(key)) > 1:
                        names[key] = words
        return names

    def axes(self, observable: str) -> list[str]:
        """Return the axes that an observable can be drawn over."""
        da = self._array(observable)
        parameters = [str(dim) for dim in da.dims if dim not in (*AXES, *NOT_OF_NETWORK, "architecture")]
        return [name for name in (*AXES, *parameters) if self._spans(da, name)]

    def _spans(self, da: xr.DataArray, name: str) -> bool:
        """Return whether an axis has two values or more that can be drawn."""
        if name in da.dims:
            values = da[name].values
            return values.dtype.kind in "iuf" and scales.drawable(values).sum() > 1
        if name not in sizes.SIZES or "architecture" not in da.dims:
            return False
        return np.unique(sizes_of(da["architecture"].values)[name]).size > 1

    def first_view(self) -> View:
        """Return the view that a page opens with: the kernel distance over lam and time, if it is there."""
        known = self.observables
        observable = DISTANCE if DISTANCE in known else next(iter(known))
        x, y = self.axes(observable)[:2]
        return self.completed(View(observable, x, y))

    def completed(self, view: View) -> View:
        """Return a view with a value for each axis that it needs, and with axes that its observable has."""
        axes = self.axes(view.observable)
        x = view.x if view.x in axes else axes[0]
        y = view.y if view.y in axes and view.y != x else next(name for name in axes if name != x)
        given = dict(view.others)
        others = []
        for name, values in self.choices(replace(view, x=x, y=y)).items():
            start = values[default_index(name, np.asarray(values))]
            others.append((name, given[name] if given.get(name) in values else start))
        return View(view.observable, x, y, tuple(others))

    def choices(self, view: View) -> dict[str, list[Any]]:
        """Return the axes that a view is not drawn over and that have several values, with these values."""
        da = self._array(view.observable)
        drawn = {view.x, view.y} | ({"architecture"} if {view.x, view.y} & set(sizes.SIZES) else set())
        names = [str(name) for name in da.dims if name not in (*drawn, *SEEDS) and da.sizes[name] > 1]
        return {name: da[name].values.tolist() for name in sorted(names, key=lambda n: n != "architecture")}

    def cells(self, view: View) -> Cells:
        """Read the numbers of a view, in the mean over seeds.

        Raises
        ------
        InputError
            If the store is damaged, or holds no means.
        """
        da = self._array(view.observable).sel(dict(view.others))
        with reading(self.path):
            grid, _ = grid_over(da, view.x, view.y)
            grid = _thinned(scales.drawn(grid, view.x, view.y)).compute()
        x, y = grid[view.x].values, grid[view.y].values
        edges_x, edges_y = scales.edges(x), scales.edges(y)
        values = grid.values.astype(float)
        at = np.flatnonzero(np.isfinite(values))
        row, column = np.unravel_index(at, values.shape)
        return Cells(
            x=x[column],
            y=y[row],
            value=values.ravel()[at],
            at=at,
            log_x=scales.logarithmic(x),
            log_y=scales.logarithmic(y),
            log_values=(log := scales.log_values(grid, None)),
            limits=scales.colour_limits(grid, log=log),
            edges=(edges_x[column], edges_x[column + 1], edges_y[row], edges_y[row + 1]),
            grid=(x, y, values),
            levels=_crossed(values[np.isfinite(values)]) if view.observable == DISTANCE else (),
        )

    def point(self, view: View, cells: Cells, index: int, seed: int) -> tuple[StorePoint, float | None]:
        """Return the network behind a cell, and its time if the view has one.

        Parameters
        ----------
        view, cells
            The diagram.
        index : int
            Number of the cell.
        seed : int
            The seed that is wanted. If the store has no such seed, its first one is taken.

        Raises
        ------
        InputError
            If there is no such network.
        """
        values = dict(view.others) | {view.x: cells.x[index].item(), view.y: cells.y[index].item()}
        picked = {
            name: values[name] for name in sizes.SIZES if name in values and name not in self.dataset.dims
        }
        if picked:
            values["architecture"] = self._architecture(picked)
        return self._point(values, seed), values.get("time")

    def _architecture(self, picked: Mapping[str, Any]) -> str:
        """Return the first architecture that has some sizes."""
        names = np.atleast_1d(self.dataset["architecture"].values)
        own = sizes_of(names)
        fits = np.all([np.isclose(own[name], value) for name, value in picked.items()], axis=0)
        return str(names[np.flatnonzero(fits)[0]])

    def with_seed(self, point: StorePoint, seed: int) -> StorePoint | None:
        """Return the same point of another seed, or None if the store does not have it."""
        if seed not in self._seeds:
            return None
        call = tuple((name, seed if name == "seed" else value) for name, value in point.call)
        return replace(point, call=call, settings={**point.settings, "seed": seed})

    def _nearest_seed(self, seed: int) -> int:
        """Return a seed if the store has it, else its first one."""
        seeds = self._seeds
        return seed if seed in seeds else seeds[0]

    @property
    def first_seed(self) -> int:
        """The seed of the network that a page opens with."""
        return self._seeds[0]

    @property
    def _seeds(self) -> list[int]:
        if "seed" in self.dataset.coords:
            return [int(seed) for seed in np.atleast_1d(self.dataset["seed"].values)]
        return [int(seed) for seed in self._spec.seeds]

    @cached_property
    def _spec(self) -> Spec:
        return Spec.from_json(self.dataset.attrs["spec"])

    def _point(self, values: Mapping[str, Any], seed: int) -> StorePoint:
        own = {str(name) for name in self.dataset.dims} - set(NOT_OF_NETWORK)
        call = {name: value for name, value in values.items() if name in own}
        call["seed"] = self._nearest_seed(seed)
        call = {"architecture": call.pop("architecture")} | call if "architecture" in call else call
        return self._built(call, call)

    def _built(self, call: Mapping[str, Any], values: Mapping[str, Any]) -> StorePoint:
        """Return a point, whose network exists, with the settings of sliders that are like it.

        `values` are those of the point on the axes and in the columns of the store.

        Raises
        ------
        InputError
            If there is no such network.
        """
        _, net = rebuild(self.dataset, **call)
        spec = self._spec
        axes = {
            "init_scale": spec.init_scales,
            "lam": spec.lams,
            "kappa": spec.kappas,
            "rate_ratio": spec.rate_ratios,
        }
        numbers = {name: float(values.get(name, axis[0])) for name, axis in axes.items() if len(axis)}
        if spec.init.kind.adapter:  # whose balance is that of its draw
            numbers |= {"lam": net.lam if math.isfinite(net.lam) else 0.0}
        numbers["seed"] = int(values["seed"])
        settings = numbers | _settings(self.dataset, net.architecture, values)
        return StorePoint(self.dataset, self.path, tuple(call.items()), settings)

    def _array(self, observable: str) -> xr.DataArray:
        """Return an observable where points are ok, of one layer or stage."""
        name, *labels = observable.split(":")
        da = self.dataset[name]
        own = [str(dim) for dim in entry_of(name).dims if dim in da.dims]
        for dim, label in zip(own, labels, strict=True):
            da = da.isel({dim: [str(value) for value in da[dim].values.tolist()].index(label)}, drop=True)
        return seed_statistics.ok(da)


def _settings(dataset: xr.Dataset, shape: Architecture, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of sliders that tell the sizes, the start and the task of a point.

    What its values do not have, the coordinates of one value of the store give.
    """

    def one(name: str) -> Any:
        if name in values:
            return values[name]
        return dataset[name].item() if name in dataset.coords and dataset[name].ndim == 0 else None

    balanced = "lam" in dataset.coords
    start = BALANCED if balanced or one("init_kind") not in STARTS else one("init_kind")
    settings = {"n_i": shape.n_i, "n_h": shape.n_h, "n_o": shape.n_o, "start": start}
    settings["task"] = TASKS.get(str(one("task_kind")), REGRESSION)
    for name, kind in (("n_samples", int), ("target_scale", float)):
        if one(name) is not None:
            settings[name] = kind(one(name))
    return settings


def _crossed(values: Array) -> tuple[float, ...]:
    """Return the thresholds of the regimes that lie between some kernel distances."""
    return tuple(level for level in THRESHOLD if (values < level).any() and (values > level).any())


def _thinned(grid: xr.DataArray) -> xr.DataArray:
    """Return values (y, x) with at most so many cells, evenly chosen along both axes."""
    steps = dict.fromkeys(map(str, grid.dims), 1)
    while math.prod(-(-grid.sizes[name] // step) for name, step in steps.items()) > MOST_CELLS:
        longest = max(steps, key=lambda name: grid.sizes[name] // steps[name])
        steps[longest] += 1
    return grid.isel({name: slice(None, None, step) for name, step in steps.items()})


class Table(Sweep):
    """A store of a table of points. Its diagram has a dot for each row."""

    @cached_property
    def _spec(self) -> Spec:
        """The spec of the first row, because the spec of a long table lacks the rows."""
        return at_row(self.dataset, int(self.dataset[POINT].values[0]))[1]

    @property
    def _has_seed_column(self) -> bool:
        return "seed" in self.dataset.coords and self.dataset["seed"].dims == (POINT,)

    def axes(self, observable: str) -> list[str]:
        """Return the columns that a diagram can be drawn over."""
        columns = [
            str(name)
            for name, column in self.dataset.coords.items()
            if column.dims == (POINT,) and column.dtype.kind in "iuf" and np.unique(column.values).size > 1
        ]
        known = [name for name in (*AXES, "seed") if name in columns]
        return [*known, *(name for name in columns if name not in (*known, POINT))]

    def choices(self, view: View) -> dict[str, list[Any]]:
        """Return the time, which is no column."""
        da = self._array(view.observable)
        return {"time": da["time"].values.tolist()} if da.sizes.get("time", 1) > 1 else {}

    def cells(self, view: View) -> Cells:
        """Read the numbers of a view, in the mean over seeds where these are no column."""
        da = self._array(view.observable).sel(dict(view.others))
        da = seed_statistics.mean(da)
        others = [name for name in da.dims if name != POINT]
        with reading(self.path):
            da = da.squeeze(others).compute()
        at = np.flatnonzero(np.isfinite(da.values))
        at = at[:: -(-at.size // MOST_CELLS) or 1]
        x, y = (self.dataset[name].values.astype(float) for name in (view.x, view.y))
        return Cells(
            x=x[at],
            y=y[at],
            value=da.values[at].astype(float),
            at=at,
            log_x=_log_column(x),
            log_y=_log_column(y),
            log_values=(log := scales.log_values(da, None)),
            limits=scales.colour_limits(da, log=log),
        )

    def point(self, view: View, cells: Cells, index: int, seed: int) -> tuple[StorePoint, float | None]:
        """Return the network of a row, and its time."""
        row = self.dataset.drop_vars("status").isel({POINT: int(cells.at[index])})
        call: dict[str, Any] = {"point": int(row[POINT].item())}
        values = {str(name): value.item() for name, value in row.coords.items() if value.ndim == 0}
        if not self._has_seed_column:
            values["seed"] = call["seed"] = self._nearest_seed(seed)
        return self._built(call, values), dict(view.others).get("time")

    def with_seed(self, point: StorePoint, seed: int) -> StorePoint | None:
        """Return the same row of another seed, or None where the seed is a column."""
        return None if self._has_seed_column else super().with_seed(point, seed)


def central(cells: Cells) -> int:
    """Return the number of the cell or dot that is nearest to the middle of both axes, in ranks."""
    ranks = [np.unique(axis, return_inverse=True)[1] for axis in (cells.x, cells.y)]
    return int(np.argmin(sum(np.abs(rank - rank.max() // 2) for rank in ranks)))


def _log_column(values: Array) -> bool:
    """Return whether a column is drawn on a logarithmic scale: it is positive and spans two decades."""
    return bool(values.min() > 0 and values.max() >= 100.0 * values.min())


def open_diagram(path: str) -> Sweep:
    """Open a store for its diagram.

    Raises
    ------
    InputError
        If there is no store, it is damaged, or has nothing that a diagram shows.
    """
    dataset = open_sweep(path)
    return (Table if POINT in dataset.dims else Sweep)(str(path), dataset)
