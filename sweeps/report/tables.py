"""Texts and tables of a report: the sweep, the status of its points, the versions that wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import prod

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.kernels import Status
from fastlin.solvers import SOLVERS
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.counts import points as points_of_block
from fastlin.sweeps.store.store import Store

MOST_ROWS = 100
COLUMNS = (Status.OK, Status.DIVERGED, Status.FAILED, Status.PENDING)
RARE = (Status.TOO_STIFF, Status.ABSENT)  # columns that are shown where they have any points
AXES = {
    "architecture": "architectures",
    "init_scale": "weight scales",
    "solver": "solvers",
    "learning_rate": "learning rates",
    "kappa": "κ",
    "rate_ratio": "ratios of learning rates",
    "noise_seed": "noise seeds",
    "seed": "seeds",
    "lam": "λ",
    "point": "points of a table",
}


@dataclass(frozen=True, eq=False)
class Counts:
    """Numbers of points of each architecture by `Status`."""

    architectures: Sequence[Architecture]
    points: NDArray[np.int64]  # (architectures, statuses)

    @property
    def total(self) -> int:
        """Number of points in all."""
        return int(self.points.sum())

    @property
    def ok(self) -> int:
        """Number of points that have all their values."""
        return int(self.points[:, Status.OK].sum())

    @property
    def pending(self) -> int:
        """Number of points that are still to be computed."""
        return int(self.points[:, Status.PENDING].sum())

    @property
    def done(self) -> int:
        """Number of points that have been computed."""
        return self.total - self.pending


def count(store: Store) -> Counts:
    """Count the points of a store by architecture and status."""
    layout = store.layout
    row = {shape: index for index, shape in enumerate(layout.spec.architectures)}
    points = np.zeros((len(row), len(Status)), dtype=np.int64)
    rows = np.array([row[shape] for shape in layout.stored.architectures])[layout.points.architecture_codes]
    axis = layout.points.architecture_axis
    for index, codes in store.commit_markers():
        np.add.at(points, rows[layout.status.region(index)[axis]], points_of_block(store, index, codes))
    return Counts(layout.spec.architectures, points)


def lead(spec: Spec, selected: xr.Dataset) -> str:
    """Return one sentence of HTML that describes the part of the sweep that is selected."""
    sizes = {name: selected.sizes.get(name, size) for name, size in spec.point_dims.items()}
    axes = [
        f"{size:,} {AXES.get(name) or name.replace('_', ' ')}" for name, size in sizes.items() if size > 1
    ]
    product = f" ({' &times; '.join(axes)})" if len(axes) > 1 else ""
    points = _share(prod(sizes.values()), spec.points)
    times, every = selected.sizes.get("time", spec.times.size), spec.times.size
    at = f"{_share(times, every)} times" if every > 1 else "one time"
    solvers = selected["solver"].values.tolist() if "solver" in selected.dims else spec.solvers
    return (
        f"Learning dynamics of two-layer linear networks y = W₂W₁x: {points} configurations{product}, "
        f"each at {at}, {' and '.join(SOLVERS[name].phrase for name in solvers)}."
    )


def _share(part: int, total: int) -> str:
    """Return a number, and of how many it is if it is not all."""
    return f"{total:,}" if part == total else f"{part:,} of {total:,}"


def pending(counts: Counts) -> str:
    """Return the notice at the top of the page of an incomplete sweep, which counts all of its points."""
    if not counts.pending:
        return ""
    share = int(100 * counts.done / counts.total)  # Rounded down: 100 % means complete.
    return (
        f'<p class="notice"><strong>{share} % of the points are done.</strong> '
        f"These are {counts.done:,} of {counts.total:,} in the store; this page shows no others. "
        f'<progress value="{counts.done}" max="{counts.total}"></progress></p>'
    )


def status(counts: Counts) -> str:
    """Return the table of points by architecture and status."""
    names = [f"{shape.family} {shape}" for shape in counts.architectures[:MOST_ROWS]]
    total = counts.points.sum(axis=0)
    codes = [*COLUMNS, *(code for code in RARE if total[code])]

    def row(name: str, points: NDArray[np.int64]) -> list[str]:
        return [name, *(f"{number:,}" for number in (*points[codes], points.sum()))]

    rows = [row(name, points) for name, points in zip(names, counts.points, strict=False)]
    if more := len(counts.architectures) - len(rows):
        rows.append(row(f"{more:,} more", counts.points[MOST_ROWS:].sum(axis=0)))
    if len(rows) > 1:
        rows.append(row("all", total))
    columns = [code.name.lower().replace("_", " ") for code in codes]
    return _table(["architecture", *columns, "points"], rows)


def versions(made_with: Sequence[dict[str, str]]) -> str:
    """Return the table of versions, with a column for each set of versions that wrote the store."""
    names = sorted(set().union(*made_with))
    head = ["", *(["version"] if len(made_with) == 1 else [f"{n + 1}." for n in range(len(made_with))])]
    return _table(head, [[name, *(entry.get(name, "") for entry in made_with)] for name in names])


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)]
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        lines.append(f'<th scope="row">{escape(first)}</th>{cells}')
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
