"""The two forms of a kernel: the time of the one for all sizes over that of the one for one architecture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from fastlin.bench.case import Case
from fastlin.bench.timing import Note, alternate, lengthened

Shape = tuple[int, int, int]

SHAPES = ((4, 2, 4), (4, 4, 4), (8, 8, 8), (16, 8, 8), (16, 12, 8), (32, 20, 16))

_SEEDS, _PROBLEMS = 16, 200
_RATE, _STEPS = 0.002, 200
_GRID = 0.05 * np.arange(101.0)
_LATE = np.array([90.0])


def measure_forms(shapes: Sequence[Shape], lams: int, rounds: int, note: Note) -> dict[str, Any]:
    """Return the ns of each step of each architecture in both forms, and run-time over specialised.

    The steps are one of gradient descent, a time of a uniform grid, one late time, and the set-up of a seed.
    """
    figures: dict[str, Any] = {}
    for shape in shapes:
        name = "-".join(map(str, shape))
        note(f"forms of {name}")
        figures[name] = {}
        for step, (work, units) in _steps(Case(shape, _SEEDS, np.linspace(-9.0, 9.0, lams))).items():
            runs = {form: lengthened(work(special), units) for form, special in _FORMS.items()}
            seconds = alternate(runs, rounds)
            ns = {form: 1e9 * value for form, value in seconds.items()}
            figures[name][step] = ns | {"ratio": ns["run_time"] / ns["specialised"]}
    return figures


_FORMS = {"run_time": False, "specialised": True}


def _steps(case: Case) -> dict[str, tuple[Callable[[bool], Callable[[], object]], int]]:
    """Return a function of `specialise` that returns the work, and the units of the work, for each step."""
    problems = np.arange(_PROBLEMS)
    return {
        "gradient_descent": (partial(case.gradient_descent, _RATE, _STEPS), case.points * _STEPS),
        "march": (partial(case.closed_form, _GRID), case.points * _GRID.size),
        "jump": (partial(case.closed_form, _LATE), case.points),
        "set_up": (lambda special: partial(case.set_up, problems, special), _PROBLEMS),
    }
