"""Refine a sweep over a table of points: add rows in rounds until the borders are as narrow as wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.regimes import THRESHOLD
from fastlin.sweeps.read.accessor import DISTANCE
from fastlin.sweeps.read.bracketing import borders, refine
from fastlin.sweeps.read.open import open_sweep
from fastlin.sweeps.run.options import RunOptions
from fastlin.sweeps.run.progress import Progress, as_progress
from fastlin.sweeps.run.run import chosen_executor, run
from fastlin.sweeps.spec.points import SECTION, SIZES, PointTable
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.store import Store
from fastlin.validation import check_choice

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Refinement:
    """Result of a refinement.

    Attributes
    ----------
    store : str
        Path of the store.
    rounds : int
        Number of runs that added points.
    added_points, points : int
        Number of points that were added, and of all in the store now.
    borders : pandas.DataFrame
        A row for each border, as `fastlin.borders` returns them.
    wide : int
        Number of borders that are not as narrow as wanted, because points inside them are bad.
    """

    store: str
    rounds: int
    added_points: int
    points: int
    borders: pd.DataFrame
    wide: int

    def to_dict(self) -> dict[str, Any]:
        """Return the result JSON-ready, with the borders as a list of mappings."""
        return {**vars(self), "borders": self.borders.to_dict("records")}

    def __str__(self) -> str:
        """Return a line for each border, and the counts."""
        fixed = [name for name in self.borders if name not in BRACKET]
        lines = []
        for row in self.borders.to_dict("records"):
            line = ", ".join(f"{name} {row[name]}" for name in fixed)
            lines.append(
                f"{line + ': ' if line else ''}{row['estimate']:.8g}, in [{row['low']!r}, {row['high']!r}]"
            )
        wide = f", {self.wide:,} of them wider because points inside are bad" if self.wide else ""
        counts = f"{self.added_points:,} points added in {self.rounds:,} rounds, {self.points:,} in all"
        return "\n".join([*lines, f"{self.store}: {len(lines):,} borders{wide}; {counts}"])


BRACKET = ("low", "high", "value_low", "value_high", "estimate")  # columns of borders that are on no axis


def refine_sweep(
    path: str | Path,
    observable: str = DISTANCE,
    at: float = THRESHOLD[-1],
    *,
    axis: str = "lam",
    tolerance: float = 1e-3,
    time: float | None = None,
    mean: bool = True,
    workers: int | None = None,
    progress: bool | Progress = False,
) -> Refinement:
    """Add points to the store of a table until each border is bracketed to a tolerance.

    A refinement that is interrupted is continued by the same call.

    Parameters
    ----------
    path : str or Path
        The store of a sweep over [points]. The axis is a column of the table.
    observable, at, axis, tolerance, time, mean
        As in `fastlin.refine`.
    workers : int, optional
        Number of worker processes, instead of threads.
    progress : bool or Progress
        As in `run_sweep`.

    Returns
    -------
    Refinement
        The borders, and the counts of rounds and points.

    Raises
    ------
    InputError
        If the store holds a product of axes, its table does not have the axis as a column, or an argument
        does not fit.
    StoppedError
        If another run writes the store, or it cannot be written.
    """
    show = as_progress(progress)
    arguments: dict[str, Any] = {"axis": axis, "time": time, "mean": mean}
    _check(path, axis)
    spec, rounds, before = _spec(path), 0, _spec(path).points
    run(spec, path, chosen_executor(None, None, workers), RunOptions(), show)
    while not (new := refine(open_sweep(path), observable, at, tolerance=tolerance, **arguments)).empty:
        rounds += 1
        show.note(f"round {rounds}: {len(new):,} rows")
        spec = with_rows(spec, new)
        run(spec, path, chosen_executor(None, None, workers), RunOptions(), show)
    found = borders(open_sweep(path), observable, at, **arguments)
    wide = int((found["high"] - found["low"] > tolerance).sum())
    return Refinement(str(path), rounds, spec.points - before, spec.points, found, wide)


def _spec(path: str | Path) -> Spec:
    return Store.open(locate(path)).layout.spec


def _check(path: str | Path, axis: str) -> None:
    """Raise if a store is not of a table with a column for the axis."""
    table = _spec(path).table
    if table is None:
        raise InputError(
            f"{path} holds a product of axes, to which no single points can be added; run a spec with "
            f"[{SECTION}] into another store"
        )
    check_choice("axis", axis, [name for name, values in table.columns.items() if values.dtype.kind == "f"])


def with_rows(spec: Spec, new: pd.DataFrame) -> Spec:
    """Return the spec of a table with more rows behind its own, which have the same columns."""
    assert spec.table is not None
    added = {name: new[name].to_numpy() for name in new.columns}
    shapes = [Architecture.read(text) for text in added.pop("architecture")]
    added |= {name: np.array([getattr(shape, name) for shape in shapes]) for name in SIZES}
    columns = {
        name: np.concatenate([values, added[name].astype(values.dtype)])
        for name, values in spec.table.columns.items()
    }
    return Spec.from_dict(spec.to_dict() | {SECTION: PointTable(columns)})
