"""Compiled code: arrays in, arrays out. Imports NumPy, SciPy, Numba, llvmlite, filelock and siblings only.

`dispatch` is the interface. It chooses between `vector/`, which works on eight networks at a time, and
`blas/`, which works on one large network at a time. `compiler/` turns plain Python into vector code.
`README.md` leads from the mathematics to the files.
"""

from fastlin.kernels.batch import Batch, empty_batch, padded
from fastlin.kernels.codes import Output, Scale, Status
from fastlin.kernels.dispatch import (
    draw_inputs_records,
    draw_raw_records,
    draw_records,
    factorise,
    follow,
    follow_two_sided,
    network_time_scales,
)
from fastlin.kernels.draws import Factors, Problem
from fastlin.kernels.sizes import Record, Sizes
from fastlin.kernels.vector.balance import balanced_scales, two_sided_scales

__all__ = [
    "Batch",
    "Factors",
    "Output",
    "Problem",
    "Record",
    "Scale",
    "Sizes",
    "Status",
    "balanced_scales",
    "draw_inputs_records",
    "draw_raw_records",
    "draw_records",
    "empty_batch",
    "factorise",
    "follow",
    "follow_two_sided",
    "network_time_scales",
    "padded",
    "two_sided_scales",
]
