"""BLAS and LAPACK for compiled code: arguments, denormals, and addresses in other processes."""

import platform
import subprocess
import sys

import numpy as np
import pytest
from numba import njit

from fastlin.kernels.blas import routines


@njit
def halved_there_and_here(x):
    """Return half a number with denormals flushed, and after they are restored."""
    mode = routines.flush_denormals()
    half = 0.5 * x
    routines.restore_denormals(mode)
    return half, 0.5 * x


def test_flushing_ends():
    least = np.full(1, np.finfo(float).tiny)
    flushed, kept = halved_there_and_here(least)
    assert flushed[0] == (0.0 if platform.machine() in ("x86_64", "AMD64") else least[0] / 2)
    assert kept[0] > 0.0


def test_arguments_are_checked_on_compilation():
    @njit
    def wrong(x):
        return routines.ddot(1.5, x, 1, x, 1)

    with pytest.raises(TypeError, match="ddot needs arguments"):
        wrong(np.ones(3))


PROBE = """
import numpy as np
from fastlin.kernels import Batch, Record, Sizes, padded
from fastlin.kernels.blas import dynamics
sizes = Sizes(3, 2, 3)
records = np.linspace(0.1, 1.0, Record(sizes).length)[None]
out, status = np.empty((7, padded(1), 5)), np.empty(padded(1), np.uint8)
times = np.array([0.0, 0.1, 0.2, 9.0, np.inf])
batch = Batch(records, np.array([2.0]), times, out, status)
dynamics.prepare_closed_form(sizes, tuple(range(7)), batch)()
print(out[:, 0].tobytes().hex(), sum(dynamics._solve_points.stats.cache_hits.values()))
"""


@pytest.mark.processes
def test_compiled_code_finds_the_routines_in_another_process():
    """Libraries are loaded elsewhere in each process, so compiled code must not hold their addresses."""
    found = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        found.append(done.stdout.split())
    (first, _), (second, hits), third = found
    assert first == second and hits == "1" and third == [second, hits]
