"""Compiled code: arrays in, arrays out. Imports NumPy, Numba and siblings only."""

from fastlin.kernels.balance import balanced_scales
from fastlin.kernels.closed_form import closed_form, solve
from fastlin.kernels.codes import Row, Status
from fastlin.kernels.eigenbasis import eigen_system, from_eigenbasis, to_eigenbasis
from fastlin.kernels.gradient_descent import BLOW_UP, descend, gradient_descent
from fastlin.kernels.problems import INIT_POWER, Problem, draw_problems

__all__ = [
    "BLOW_UP",
    "INIT_POWER",
    "Problem",
    "Row",
    "Status",
    "balanced_scales",
    "closed_form",
    "descend",
    "draw_problems",
    "eigen_system",
    "from_eigenbasis",
    "gradient_descent",
    "solve",
    "to_eigenbasis",
]
