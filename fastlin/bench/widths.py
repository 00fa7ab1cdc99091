"""The cost of a point against the hidden width. It must not jump where another kernel takes over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fastlin.bench.case import Case
from fastlin.bench.timing import Note, alternate, lengthened
from fastlin.kernels import Sizes
from fastlin.kernels.compiler.jit import Array

Shape = tuple[int, int, int]

WIDTHS = (8, 9, 16, 32, 33, 64, 100)
FAMILIES = ("w-w-w", "100-w-100")
STEP = 1.5  # upper bound of the growth of the time from a width to the next, over that of the operations

_RATE, _STEPS = 0.002, 100
_GRID = 0.05 * np.arange(21.0)  # of short steps
_LATE = 90.0 + 1.7 * np.arange(9.0) ** 2  # no grid


def shape_of(family: str, width: int) -> Shape:
    """Return the sizes of a member of a family, such as 100-w-100."""
    n_i, n_h, n_o = (width if part == "w" else int(part) for part in family.split("-"))
    return n_i, n_h, n_o


def operations(sizes: Sizes) -> dict[str, float]:
    """Return the leading floating-point operations of a step and of a time, with loss and kernel distance."""
    n, h = sizes.n, sizes.width
    square = n * h * h
    observed = 2 * sizes.rows_i * sizes.rows_o * h + 3 * square  # the product; Gram matrices, cross products
    return {
        "gradient_descent": 3 * square + 4 * sizes.m * h,  # Gram matrices, their products; the target
        "grid": 2 * square + h**3 / 3 + observed,  # a Gram matrix and a solve; Cholesky
        "late": 3 * square + observed,  # QR and a solve
    }


def measure_widths(
    families: Sequence[str], widths: Sequence[int], lams: int, rounds: int, note: Note
) -> dict[str, Any]:
    """Return the us per step or time of each family, method and width, and its growth beyond the operations.

    ``step`` is the ratio of the times of a width and the one before it, over the ratio of their operations.
    """
    figures: dict[str, Any] = {}
    for family in families:
        note(f"widths of {family}")
        cases = {width: Case(shape_of(family, width), 1, np.linspace(-9.0, 9.0, lams)) for width in widths}
        figures[family] = {}
        for method, units in (("gradient_descent", _STEPS), ("grid", _GRID.size), ("late", _LATE.size)):
            runs = {
                str(width): lengthened(_work(case, method), case.points * units)
                for width, case in cases.items()
            }
            seconds = alternate(runs, rounds)
            work = {str(width): operations(case.architecture.sizes)[method] for width, case in cases.items()}
            figures[family][method] = _rows(seconds, work)
    return figures


def _work(case: Case, method: str) -> Callable[[], Array]:
    if method == "gradient_descent":
        return case.gradient_descent(_RATE, _STEPS)
    return case.closed_form(_GRID if method == "grid" else _LATE)


def _rows(seconds: dict[str, float], work: dict[str, float]) -> dict[str, dict[str, float | None]]:
    rows: dict[str, dict[str, float | None]] = {}
    before: str | None = None
    for width in seconds:
        step = None
        if before is not None:
            step = (seconds[width] / seconds[before]) / (work[width] / work[before])
        rows[width] = {"us": 1e6 * seconds[width], "flops": work[width], "step": step}
        before = width
    return rows


def draw(figures: dict[str, Any], path: Path) -> None:
    """Draw the time against the width, with dotted lines for growth in proportion to the operations."""
    from matplotlib.figure import Figure

    from fastlin.plot.saving import save

    names = {"gradient_descent": "gradient descent, a step", "grid": "closed form, a time of a grid"}
    names["late"] = "closed form, one late time"
    figure = Figure(figsize=(4.2 * len(figures), 3.6), layout="constrained")
    axes = figure.subplots(1, len(figures), squeeze=False, sharey=True)[0]
    for ax, (family, methods) in zip(axes, figures.items(), strict=True):
        for colour, (method, rows) in enumerate(methods.items()):
            widths = [int(width) for width in rows]
            times = np.array([row["us"] for row in rows.values()])
            work = np.array([row["flops"] for row in rows.values()])
            ax.loglog(widths, times, "o-", color=f"C{colour}", label=names[method])
            ax.loglog(widths, times[0] * work / work[0], ":", color=f"C{colour}")
        near = [before * 1.1 > width for before, width in pairwise([0, *widths])]  # no room for their labels
        ax.set_xticks(widths, ["" if skip else str(width) for skip, width in zip(near, widths, strict=True)])
        ax.minorticks_off()
        ax.set(title=family, xlabel="hidden width w")
    axes[0].set_ylabel("us per network (dotted: like its operations)")
    axes[0].legend(fontsize="small")
    save(figure, path, dpi=150)
