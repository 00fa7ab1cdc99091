"""Compiled code: arrays in, arrays out. Imports NumPy, SciPy, Numba, llvmlite and siblings only.

The road through it: `random` and `problems` set up what a seed needs (`Record`), `closed_form` and
`gradient_descent` run points (seed, lam) through it. What these do to a vector of eight networks is written
as plain Python on `lanes`, one step to a file: `balance`, `eigenbasis`, `echelon`, `evolution`, `march`,
`observables`, `time_scales`; `gram`, `singular`, `reflections` and `functions` are the arithmetic below.
Networks too large for that go one at a time through `blas`, on BLAS and LAPACK; `tiers` chooses. `peak` is
what a core can do at most.
"""

from fastlin.kernels.balance import balanced_scales
from fastlin.kernels.codes import Row, Scale, Status
from fastlin.kernels.gradient_descent import BLOW_UP, descend
from fastlin.kernels.points import padded
from fastlin.kernels.problems import INIT_POWER, Factors
from fastlin.kernels.sizes import Record, Sizes
from fastlin.kernels.tiers import (
    closed_form,
    draw_records,
    factorise,
    follow,
    gradient_descent,
    network_time_scales,
    time_scales,
)

__all__ = [
    "BLOW_UP",
    "INIT_POWER",
    "Factors",
    "Record",
    "Row",
    "Scale",
    "Sizes",
    "Status",
    "balanced_scales",
    "closed_form",
    "descend",
    "draw_records",
    "factorise",
    "follow",
    "gradient_descent",
    "network_time_scales",
    "padded",
    "time_scales",
]
