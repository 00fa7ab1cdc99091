"""The cost of the closed form with two-sided balance, beside that of the form for kappa = 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastlin.bench.case import Case
from fastlin.bench.timing import Note, alternate, lengthened

Shape = tuple[int, int, int]

SHAPES = ((4, 8, 4),)
LIMIT = 2.0  # upper bound of the time, over that for kappa = 0 at the same N_h

_SEEDS, _KAPPA = 16, 1.0
_TIMES = {"march": 0.05 * np.arange(101.0), "jump": np.array([90.0]), "far_jump": np.array([1e6])}


def measure_two_sided(shapes: Sequence[Shape], lams: int, rounds: int, note: Note) -> dict[str, Any]:
    """Return the ns per network and time in both forms: on a grid (march), and at single late times (jumps).

    ``ratio`` is the time for kappa > 0 over that for kappa = 0.
    """
    figures: dict[str, Any] = {}
    for shape in shapes:
        name = "-".join(map(str, shape))
        note(f"two-sided balance of {name}")
        case = Case(shape, _SEEDS, np.linspace(-9.0, 9.0, lams))
        figures[name] = {}
        for step, times in _TIMES.items():
            units = case.points * times.size
            runs = {
                form: lengthened(case.closed_form(times, kappa=kappa), units)
                for form, kappa in (("one_sided", 0.0), ("two_sided", _KAPPA))
            }
            ns = {form: 1e9 * seconds for form, seconds in alternate(runs, rounds).items()}
            figures[name][step] = ns | {"ratio": ns["two_sided"] / ns["one_sided"]}
    return figures
