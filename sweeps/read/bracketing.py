"""Borders of a sweep: where an observable crosses a value along an axis, and the points that narrow them.

A line is a set of points that differ only in their value on the axis, as networks of one architecture at many
lam. Two neighbours on a line with the value between theirs bracket a border. A new point always lies inside a
bracket, so that both sides are kept and no border is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from fastlin import seed_statistics
from fastlin.dimensions import RESERVED
from fastlin.errors import InputError
from fastlin.observables.regimes import THRESHOLD
from fastlin.observables.registry import REGISTRY
from fastlin.sweeps.read.accessor import DISTANCE
from fastlin.sweeps.read.selection import select
from fastlin.sweeps.spec.extension import AXES
from fastlin.sweeps.spec.points import POINT, SIZES
from fastlin.validation import check_bool, check_choice, check_float, check_instance

if TYPE_CHECKING:
    import pandas as pd

Source = xr.Dataset | list[xr.Dataset] | tuple[xr.Dataset, ...]

Values = NDArray[np.float64]
DERIVED = {*SIZES, "bottleneck_ratio", "status", "time", POINT}  # coordinates that are no columns of points
VALUE = "value"
# Two new points lie on both sides of the estimate, at a distance of the estimated error times this factor,
# but at least of this share of the tolerance, so that the bracket between both meets it.
CAUTION, SHARE = 2.0, 0.4
LARGEST_STEP = 0.25  # and at most of this share of the bracket
NEIGHBOURS = 2  # points on each side of a border that its estimate uses


class Border(NamedTuple):
    """A pair of neighbours on a line that brackets a border.

    Attributes
    ----------
    low, high : float
        Their values on the axis.
    value_low, value_high : float
        Their values of the observable.
    estimate : float
        The border, by monotone cubic interpolation (PCHIP) between up to four points.
    error : float
        Its estimated error, the distance from the linear interpolation.
    """

    low: float
    high: float
    value_low: float
    value_high: float
    estimate: float
    error: float


def borders(
    dataset: Source,
    observable: str = DISTANCE,
    at: float = THRESHOLD[-1],
    *,
    axis: str = "lam",
    time: float | None = None,
    mean: bool = True,
) -> pd.DataFrame:
    """Find the borders at which an observable crosses a value along an axis, each between two points.

    Parameters
    ----------
    dataset : xarray.Dataset or list of xarray.Dataset
        From `open_sweep`: a product of axes, or points; or several of the same axes, as rounds of which the
        first is a product.
    observable : str
        Name of an observable with one number for each point and time.
    at : float
        The value, in the unit of the observable. The default is the kernel distance from which a network is
        rich.
    axis : str
        The axis that is crossed: "lam" or another one of numbers. The other axes stay fixed on each line.
    time : float, optional
        The stored time. It may be left out if there is one, or the observable does not depend on time.
    mean : bool
        Cross the mean over the seeds that are ok. Otherwise each seed has borders of its own.

    Returns
    -------
    pandas.DataFrame
        A row for each border: the values on the other axes, `low` and `high` on the axis, the observable
        there (`value_low`, `value_high`), and the `estimate` of the border between them. Two borders between
        neighbours are not seen.

    Raises
    ------
    InputError
        If the observable, the axis or the time is not there, or it is not clear which time is meant.

    Examples
    --------
    >>> ds = fl.open_sweep("small.zarr").fastlin.select(init_scale=1.0)
    >>> found = fl.borders(ds, "kernel_distance", at=0.15, time=np.inf)
    >>> found[["architecture", "low", "high"]].values.tolist()[0]
    ['4-2-2', 0.0, 2.0]
    """
    import pandas as pd

    table = _table(dataset, observable, axis, time, mean)
    level = check_float("at", at)
    rows = [line.fixed | each._asdict() for line in _lines(table, axis, mean) for each in line.borders(level)]
    columns = [*_fixed(table, axis, mean), *Border._fields]
    return pd.DataFrame(rows, columns=columns).drop(columns="error")


def span(
    dataset: Source,
    observable: str = DISTANCE,
    *,
    axis: str = "lam",
    time: float | None = None,
    mean: bool = True,
) -> tuple[float, float]:
    """Return the smallest and the largest value of an observable on all lines, as `borders` compares it.

    Both are NaN where no point has a value. Arguments and errors are those of `borders`.
    """
    lines = _lines(_table(dataset, observable, axis, time, mean), axis, mean)
    values = np.concatenate([np.array([np.nan]), *(line.y for line in lines)])
    return float(np.fmin.reduce(values)), float(np.fmax.reduce(values))


def refine(
    dataset: Source,
    observable: str = DISTANCE,
    at: float = THRESHOLD[-1],
    *,
    axis: str = "lam",
    tolerance: float = 1e-3,
    time: float | None = None,
    mean: bool = True,
) -> pd.DataFrame:
    """Propose the points that narrow the borders at which an observable crosses a value along an axis.

    For each bracket that is wider than the tolerance these are two points around the estimated border, or
    three, such that the next bracket is at most half as wide. From the second round on brackets shrink much
    faster, because the error of the estimate falls with the square of the width.

    Parameters
    ----------
    dataset, observable, at, axis
        Which borders are narrowed, as for `borders`.
    tolerance : float
        Width of a bracket that is narrow enough, in the unit of the axis.
    time, mean
        As for `borders`.

    Returns
    -------
    pandas.DataFrame
        A row for each point to compute next, for ``run_sweep(..., points=...)``: a column for each axis, and
        "seed" if seeds are no axis beside the points. It is empty if all brackets meet the tolerance, or if
        those that do not have only points inside that diverged, failed or are pending.

    Raises
    ------
    InputError
        If the observable, the axis or the time is not there, it is not clear which time is meant, or the
        tolerance is not positive.

    See Also
    --------
    borders : The brackets.

    Notes
    -----
    The estimate is that of monotone cubic interpolation, F. N. Fritsch, J. Butland, SIAM J. Sci. Stat.
    Comput. 5 (1984) 300. The midpoint is added where a gap would be wider than half of the bracket, so that
    no bracket takes more rounds than bisection.

    Examples
    --------
    >>> ds = fl.open_sweep("small.zarr").fastlin.select(architecture="4-2-2", init_scale=1.0)
    >>> points = fl.refine(ds, "kernel_distance", at=0.15, time=np.inf)
    >>> bool(points.lam.between(0.0, 2.0).all()), 2 <= len(points) <= 3
    (True, True)
    >>> len(fl.refine(ds, "kernel_distance", at=0.15, time=np.inf, tolerance=2.0))
    0
    """
    import pandas as pd

    table = _table(dataset, observable, axis, time, mean)
    level = check_float("at", at)
    width = check_float("tolerance", tolerance, 0.0, above=True)
    rows = []
    for line in _lines(table, axis, mean):
        for border in line.borders(level):
            rows += [
                line.fixed | {axis: value} | seed
                for value in new_values(border, width, line.taken)
                for seed in line.seeds
            ]
    return pd.DataFrame(rows, columns=[name for name in table.columns if name != VALUE])


class _Line(NamedTuple):
    """Points that differ only in their value on the axis, in its order."""

    fixed: dict[str, Any]  # the values on the other axes
    x: Values  # of the points that have a value
    y: Values
    taken: Values  # all values on the axis, also those of points without a value
    seeds: list[dict[str, Any]]  # columns that each new point gets, one point for each entry

    def borders(self, level: float) -> Iterator[Border]:
        """Yield the borders of the line in the order of the axis."""
        above = self.y >= level
        for i in np.flatnonzero(above[1:] != above[:-1]).tolist():
            near = slice(max(0, i + 1 - NEIGHBOURS), i + 1 + NEIGHBOURS)
            yield border_between(self.x[near], self.y[near], min(i, NEIGHBOURS - 1), level)


def border_between(x: Values, y: Values, first: int, level: float) -> Border:
    """Return the border between a point on a line and its next one, estimated with the others.

    Parameters
    ----------
    x, y : ndarray of float64, (points,)
        Values on the axis, in order, and of the observable.
    first : int
        Place of the point.
    level : float
        The value that the observable crosses between both.
    """
    low, high = float(x[first]), float(x[first + 1])
    value_low, value_high = float(y[first]), float(y[first + 1])
    linear = low + (level - value_low) / (value_high - value_low) * (high - low)
    with np.errstate(over="ignore"):  # of the inverse of a slope that is next to 0
        roots = PchipInterpolator(x, y).solve(level, extrapolate=False)
    inside = roots[(roots >= low) & (roots <= high)]
    estimate = float(inside[0]) if inside.size else linear
    return Border(low, high, value_low, value_high, estimate, abs(estimate - linear))


def new_values(border: Border, tolerance: float, taken: Values) -> list[float]:
    """Return the values on the axis that narrow a bracket, none if it is narrow enough.

    Each gap between them and the ends is at most half of the bracket. Values that are `taken` are left out.
    """
    low, high = border.low, border.high
    width = high - low
    if width <= tolerance:
        return []
    step = min(max(CAUTION * border.error, SHARE * tolerance), LARGEST_STEP * width)
    inside = [each for each in (border.estimate - step, border.estimate + step) if low < each < high]
    if np.diff([low, *inside, high]).max() > width / 2:
        inside.append(low + width / 2)
    return sorted({each for each in inside if low < each < high and each not in taken})


def _lines(table: pd.DataFrame, axis: str, mean: bool) -> Iterator[_Line]:
    """Yield the lines of a table of points."""
    fixed = _fixed(table, axis, mean)
    groups = table.groupby(fixed, sort=False, dropna=False) if fixed else [((), table)]
    for values, points in groups:
        seeds: list[dict[str, Any]] = [{}]
        if mean and "seed" in points:
            seeds = [{"seed": int(seed)} for seed in points["seed"].unique()]
        means = points.groupby(axis)[VALUE].mean()  # over seeds; sorted; NaN where no point has a value
        known = means.dropna()
        yield _Line(
            dict(zip(fixed, values, strict=True)),
            known.index.to_numpy(dtype=np.float64),
            known.to_numpy(dtype=np.float64),
            means.index.to_numpy(dtype=np.float64),
            seeds,
        )


def _fixed(table: pd.DataFrame, axis: str, mean: bool) -> list[str]:
    """Return the names of the axes that are fixed on each line."""
    return [name for name in table.columns if name not in (axis, VALUE) and not (mean and name == "seed")]


def _table(dataset: Source, observable: str, axis: str, time: float | None, mean: bool) -> pd.DataFrame:
    """Return the points of some datasets as rows: their values on all axes, and of the observable.

    The observable is NaN where a point is not ok. If seeds are an axis beside the points, it is their mean.
    """
    import pandas as pd

    check_bool("mean", mean)
    several: Sequence[Any] = dataset if isinstance(dataset, list | tuple) and dataset else [dataset]
    tables = [_table_of(_observed(each, observable, time, mean), axis) for each in several]
    common = [name for name in tables[0] if all(name in table for table in tables)]
    for table in tables:
        for name in table.columns.difference(common):
            if table[name].nunique() > 1:
                raise InputError(
                    f"{name} has several values in one of the datasets, and another one lacks it"
                )
    return pd.concat([table[common] for table in tables], ignore_index=True)


def _table_of(values: xr.DataArray, axis: str) -> pd.DataFrame:
    """Return the points of an observable as rows, in the order of the table if they are of one.

    A value that was selected on an axis of a product is a column, too.
    """
    of_points = POINT in values.dims
    columns = {
        name: values[name]
        for name in dict.fromkeys(map(str, (*values.dims, *values.coords)))
        if name not in DERIVED and (values[name].dims or (name in AXES.values() and not of_points))
    }
    numbers = [name for name, column in columns.items() if column.dtype.kind == "f"]
    check_choice("axis", axis, numbers)
    others = [name for name in values.coords if name not in columns and name != POINT]
    frame: pd.DataFrame = values.drop_vars(others).to_dataframe(VALUE).reset_index()
    return (frame.sort_values(POINT, kind="stable") if of_points else frame)[[*columns, VALUE]]


def _observed(dataset: xr.Dataset, observable: str, time: float | None, mean: bool) -> xr.DataArray:
    """Return an observable at one time, NaN where points are not ok, or its mean over the axis of seeds."""
    check_instance("dataset", dataset, xr.Dataset, "open_sweep(path)")
    check_choice("observable", observable, [name for name in REGISTRY if name in dataset])
    values = dataset[observable]
    if time is not None:
        values = select(dataset, {"time": time})[observable]
    elif values.sizes.get("time", 1) > 1:
        raise InputError(f"time has {values.sizes['time']} values in the dataset; say which: time=...")
    if "statistic" in values.dims and not mean:
        raise InputError("mean is False, but the store holds statistics over the seeds; it has only means")
    of_seeds = mean and ("seed" in values.dims or "statistic" in values.dims)
    values = seed_statistics.mean(values) if of_seeds else seed_statistics.ok(values)
    inner = {*RESERVED, *(["task"] if "stage" in dataset.coords else [])} & set(values.dims) - {"time"}
    if inner:
        names = ", ".join(sorted(map(str, inner)))
        raise InputError(f"{observable} has several numbers for each point ({names}); select one")
    return values.squeeze("time", drop=True).load() if "time" in values.dims else values.load()
