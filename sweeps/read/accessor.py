"""`ds.fastlin`: the common analyses of a store, each in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fastlin import seed_statistics
from fastlin.errors import InputError
from fastlin.observables.regimes import THRESHOLD, regime
from fastlin.observables.registry import REGISTRY
from fastlin.sweeps.read.selection import select
from fastlin.validation import check_float, suggest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DISTANCE = "kernel_distance"


class SweepAccessor:
    """Select from a sweep, average it over seeds, classify and draw it: ``fl.open_sweep(path).fastlin``.

    Everything but what draws is lazy: nothing is read from the store before ``.load()``, ``.compute()`` or
    ``.values``, and then chunk by chunk, so that stores may be larger than memory.

    Examples
    --------
    >>> ds = fl.open_sweep("small.zarr")
    >>> means = ds.fastlin.select(architecture="4-2-2", time=np.inf).fastlin.mean_over_seeds()
    >>> means.fastlin.regime().sel(init_scale=1.0).values.tolist()
    [2, 2, 2, 1, 0]
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def select(self, **values: Any) -> xr.Dataset:
        """Return the part of the sweep with these values on its axes.

        Parameters
        ----------
        **values
            Values by the names of axes: one value (its axis is dropped), a list of values, or ``slice(first,
            last)``, both included. ``architecture`` is a name as "4-2-4", a tuple of sizes, or a
            `fastlin.Architecture`. ``n_i``, ``n_h`` and ``n_o`` select all architectures of a size.

        Returns
        -------
        xarray.Dataset

        Raises
        ------
        InputError
            If there is no such axis, or a value is not on it (the message has the nearest) or several times.

        Examples
        --------
        >>> ds = fl.open_sweep("small.zarr")
        >>> part = ds.fastlin.select(architecture="2-3-4", time=np.inf, lam=slice(-3, 3))
        >>> dict(part.kernel_distance.sizes), part.lam.values.tolist()
        ({'init_scale': 2, 'seed': 6, 'lam': 3}, [-2.0, 0.0, 2.0])
        """
        return select(self._dataset, values)

    def mean_over_seeds(self) -> xr.Dataset:
        """Return means over seeds with their standard errors.

        Returns
        -------
        xarray.Dataset
            For each observable its mean over the points that are "ok"; ``NAME_standard_error``, the standard
            deviation (n - 1 degrees of freedom) over the root of n; and ``count``, which is n. A store with
            [output.reduce] gives the statistics that it holds.

        Raises
        ------
        InputError
            If there are no seeds to average over, some are there several times, or a reduced store holds no
            means.

        Examples
        --------
        >>> means = fl.open_sweep("small.zarr").fastlin.mean_over_seeds()
        >>> means.kernel_distance.dims
        ('architecture', 'init_scale', 'lam', 'time')
        >>> int(means["count"].min()), "kernel_distance_standard_error" in means
        (6, True)
        """
        dataset = self._dataset
        if "statistic" in dataset.dims:
            count = dataset["count"]
        elif "seed" in dataset.dims:
            count = (self._status == "ok").sum("seed")
        else:
            raise InputError("the dataset has no axis 'seed' to average over")
        means = xr.Dataset(attrs=dataset.attrs)
        for name in self._stored:
            attributes, values, error = dataset[name].attrs, dataset[name], f"{name}_standard_error"
            means[name] = seed_statistics.mean(values)
            means[name].attrs = attributes | {"cell_methods": "seed: mean"}
            if "statistic" in values.dims and "std" not in values["statistic"].values.tolist():
                continue
            spread = seed_statistics.deviation(values)
            spread = xr.full_like(means[name], np.nan) if spread is None else spread
            # Joined stores may have other times, at which points that are ok have no value.
            number = count if "statistic" in values.dims else seed_statistics.ok(values).count("seed")
            means[error] = spread / np.sqrt(number)
            means[name].attrs["ancillary_variables"] = error
            means[error].attrs = {
                "long_name": f"standard error of the mean over seeds of {name}",
                "units": attributes.get("units", "1"),
            }
        means["count"] = count
        means["count"].attrs = {"long_name": "seeds that are ok, and in the means", "units": "1"}
        return means.drop_vars(["status", "seed_block"], errors="ignore")

    def regime(self, threshold: float | Sequence[float] = THRESHOLD) -> xr.DataArray:
        """Return the regime of learning at each point: lazy, intermediate or rich.

        It is the regime of each network. ``ds.fastlin.mean_over_seeds().fastlin.regime()`` is that of the
        means. A store with [output.reduce] holds no networks, so there it is that of the means.

        Parameters
        ----------
        threshold : float or pair of float
            Kernel distances: lazy below the first, rich from the second on. The default separates the regimes
            of the paper's Figure 2B.

        Returns
        -------
        xarray.DataArray
            Of int8: 0 lazy, 1 intermediate, 2 rich, in the attributes flag_values and flag_meanings (CF
            conventions); -1 where there is no distance.

        Raises
        ------
        InputError
            If the sweep has no kernel distance, or the threshold is not one or two numbers in order.

        Examples
        --------
        >>> means = fl.open_sweep("small.zarr").fastlin.mean_over_seeds()
        >>> late = means.fastlin.select(architecture="4-2-2", init_scale=1.0, time=np.inf)
        >>> late.fastlin.regime().values.tolist()  # a funnel: rich for lam < 0, lazy for lam > 0
        [2, 2, 2, 1, 0]
        """
        self._observable(DISTANCE)
        if "statistic" in self._dataset.dims:
            return SweepAccessor(self.mean_over_seeds()).regime(threshold)
        return regime(self._ok(DISTANCE), threshold)

    def passage_time(self, fraction: float = 0.99) -> xr.DataArray:
        """Return the time at which the loss has fallen by a fraction of its fall over all stored times.

        Read off the stored times, linearly between them: as fine as these are. The exact time, without any
        grid, is the observable "convergence_time", which a sweep can store.

        Parameters
        ----------
        fraction : float
            Between 0 and 1.

        Returns
        -------
        xarray.DataArray
            t / tau, without dimension "time"; inf where the fraction is passed between the last finite time
            and t = inf, NaN where a loss is missing or higher at last than at first. Of a store with
            [output.reduce], of its mean loss.

        Raises
        ------
        InputError
            If the sweep has no loss over two times or more, or `fraction` is not between 0 and 1.

        Examples
        --------
        >>> part = fl.open_sweep("small.zarr").fastlin.select(architecture="4-2-2", init_scale=1.0)
        >>> part.fastlin.passage_time(0.5).mean("seed").values.round(2).tolist()  # for each lam
        [0.47, 0.47, 0.48, 0.45, 0.45]
        """
        share = check_float("fraction", fraction, 0.0, 1.0, above=True)
        self._observable("loss")
        if "statistic" in self._dataset.dims:
            return SweepAccessor(self.mean_over_seeds()).passage_time(share)
        loss = self._ok("loss")
        if "time" not in loss.coords:
            raise InputError(
                "the loss has lost its coordinate 'time'; use a dataset from fastlin.open_sweep(path)"
            )
        if loss.sizes.get("time", 1) < 2:
            raise InputError("the loss is there at one time only; a convergence time needs several")
        loss = loss.sortby("time")
        times = loss["time"].values
        passage: xr.DataArray = xr.apply_ufunc(
            _first_passage,
            loss.chunk({"time": -1}) if loss.chunks else loss,
            kwargs={"times": times, "fraction": share},
            input_core_dims=[["time"]],
            dask="parallelized",
            output_dtypes=[np.float64],
        )
        passage.name = "convergence_time"
        passage.attrs = {"long_name": f"time to {share:g} of the fall of the loss", "units": "1"}
        return passage

    def phase_diagram(
        self,
        x: str = "lam",
        y: str = "time",
        observable: str = DISTANCE,
        ax: Axes | None = None,
        threshold: float | Sequence[float] = THRESHOLD,
        **mesh: Any,
    ) -> Axes:
        """Draw the mean over seeds of an observable over two axes, with the regimes of the kernel distance.

        Parameters
        ----------
        x, y : str
            Axes. For architectures they are one of "n_i", "n_h", "n_o" and "bottleneck_ratio". All others
            must have one value: ``ds.fastlin.select(...)`` first.
        observable : str
            One of the sweep's.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a new figure.
        threshold : float or sequence of float
            Kernel distances at which the borders of regimes are drawn; none with ().
        **mesh
            Properties of the mesh, such as cmap, vmin and vmax.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        InputError
            If the observable is not in the sweep, or the axes do not fit.

        Examples
        --------
        >>> part = fl.open_sweep("small.zarr").fastlin.select(architecture="4-2-2", time=np.inf)
        >>> ax = part.fastlin.phase_diagram(x="lam", y="init_scale")
        >>> ax.figure.savefig("phase-diagram.png")
        """
        from fastlin.plot import phase_diagram

        self._observable(observable)
        contours = threshold if observable == DISTANCE else ()
        return phase_diagram(self._ok(observable), x, y, ax, contours, **mesh)

    @property
    def _stored(self) -> list[str]:
        return [name for name in REGISTRY if name in self._dataset]

    def _observable(self, name: str) -> None:
        if name not in self._stored:
            raise InputError(f"observable {name!r} is not in the sweep; {suggest(name, self._stored)}")

    @property
    def _status(self) -> xr.DataArray:
        if "status" not in self._dataset.coords or self._dataset["status"].dtype.kind not in "UTO":
            raise InputError("the dataset has no status of its points; use one from fastlin.open_sweep(path)")
        return self._dataset["status"]

    def _ok(self, name: str) -> xr.DataArray:
        """Return an observable where points are ok. Means and statistics are over these points only."""
        values = self._dataset[name]
        if "seed" in values.dims or "status" in values.coords:
            values = values.assign_coords(status=self._status)
        return seed_statistics.ok(values)


def _first_passage(loss: NDArray[Any], times: NDArray[Any], fraction: float) -> NDArray[np.float64]:
    """Return when losses (..., T) first come down to a level between the first and the last, (...)."""
    level = (1.0 - fraction) * loss[..., 0] + fraction * loss[..., -1]
    reached = loss <= level[..., None]
    after = np.argmax(reached, axis=-1)
    before = np.maximum(after - 1, 0)
    high, low = (np.take_along_axis(loss, at[..., None], -1)[..., 0] for at in (before, after))
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(high > low, (high - level) / (high - low), 0.0)
        step = np.where(after > before, times[after] - times[before], 0.0)
        passed = np.where(np.isinf(step), np.inf, times[before] + part * step)
    falls = loss[..., -1] <= loss[..., 0]
    return np.where(falls & ~np.isnan(loss).any(axis=-1), passed, np.nan)
