"""Add rows to a sweep over a table of points in rounds, until no more are proposed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastlin.architecture import Architecture
from fastlin.errors import InputError
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


class Rounds(NamedTuple):
    """The rounds that added points to a store.

    Attributes
    ----------
    number : int
        Number of rounds.
    added_points, points : int
        Number of points that they added, and of all in the store now.
    """

    number: int
    added_points: int
    points: int


def run_rounds(
    path: str | Path,
    propose: Callable[[], pd.DataFrame],
    axis: str,
    *,
    workers: int | None = None,
    progress: bool | Progress = False,
) -> Rounds:
    """Complete the store of a table of points, then run what is proposed until that is nothing.

    Rounds that are interrupted are continued by the same call.

    Parameters
    ----------
    path : str or Path
        The store.
    propose : callable
        Returns the rows to compute next, with the columns of the table. It is called when the store is
        complete.
    axis : str
        The column along which rows are proposed.
    workers : int, optional
        Number of worker processes, instead of threads.
    progress : bool or Progress
        As in `run_sweep`.

    Raises
    ------
    InputError
        If the store holds a product of axes, or its table does not have the axis as a column.
    StoppedError
        If another run writes the store, or it cannot be written.
    """
    show = as_progress(progress)
    spec = Store.open(locate(path)).layout.spec
    _check(path, spec, axis)
    number, before = 0, spec.points
    run(spec, path, chosen_executor(None, None, workers), RunOptions(), show)
    while not (rows := propose()).empty:
        number += 1
        show.note(f"round {number}: {len(rows):,} rows")
        spec = with_rows(spec, rows)
        run(spec, path, chosen_executor(None, None, workers), RunOptions(), show)
    return Rounds(number, spec.points - before, spec.points)


def _check(path: str | Path, spec: Spec, axis: str) -> None:
    """Raise if a spec is not of a table with a column for the axis."""
    if spec.table is None:
        raise InputError(
            f"{path} holds a product of axes, to which no single points can be added; run a spec with "
            f"[{SECTION}] into another store"
        )
    check_choice(
        "axis", axis, [name for name, values in spec.table.columns.items() if values.dtype.kind == "f"]
    )


def with_rows(spec: Spec, rows: pd.DataFrame) -> Spec:
    """Return the spec of a table with more rows behind its own, which have the same columns."""
    assert spec.table is not None
    added = {name: rows[name].to_numpy() for name in rows.columns}
    shapes = [Architecture.read(text) for text in added.pop("architecture")]
    added |= {name: np.array([getattr(shape, name) for shape in shapes]) for name in SIZES}
    columns = {
        name: np.concatenate([values, added[name].astype(values.dtype)])
        for name, values in spec.table.columns.items()
    }
    return Spec.from_dict(spec.to_dict() | {SECTION: PointTable(columns)})
