"""The kernels that a sweep needs are known before it starts, and each is compiled once."""

import os
import subprocess
import sys

import pytest

from fastlin.kernels import Sizes
from fastlin.kernels.compilation import Kernel, distinct

GRID = [Sizes(n_i, n_h, n_o) for n_i in range(1, 13) for n_h in range(1, 13) for n_o in (3, 9, 20)]


def needed(sizes):
    return [Kernel("set_up", sizes, "gaussian"), Kernel("closed_form", sizes, (0, 1))]


def test_many_architectures_need_ten_kernels():
    kernels = [kernel for sizes in GRID for kernel in needed(sizes)]
    unique = distinct(kernels)
    assert len(unique) == 10
    assert {kernel.key for kernel in unique} == {kernel.key for kernel in kernels}
    assert [kernel.seconds for kernel in unique] == sorted((k.seconds for k in unique), reverse=True)


def test_special_kernels_are_one_for_each_architecture():
    special = [Kernel("closed_form", sizes, (0, 1), specialise=True) for sizes in GRID]
    assert len(distinct(special)) == len(GRID)


PROBE = """
import sys
from fastlin.kernels import Sizes
from fastlin.kernels.compilation import Kernel, compile_all, missing
from fastlin.kernels.vector.closed_form import _closed_form
kernels = [Kernel("closed_form", Sizes(width, width, width + 1), (1,)) for width in (1, 2)]
seen = []
before = len(missing(kernels))
count = compile_all(missing(kernels), int(sys.argv[1]), lambda done, total, left: seen.append((done, total)))
misses = sum(_closed_form.stats.cache_misses.values())
print(before, count, len(missing(kernels)), misses, seen)
"""


# No folder can be written: neither the user's cache folder nor a temporary one.
NOWHERE = """
import os, tempfile
from numba.misc.appdirs import AppDirs
AppDirs.user_cache_dir = tempfile.tempdir = os.environ["NUMBA_CACHE_DIR"]
"""


@pytest.mark.processes
@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_missing_kernels_are_compiled_once_by_all_processes_together(processes, tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}

    def probe():
        command = [sys.executable, "-c", PROBE, str(processes)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        before, count, after, misses, *seen = done.stdout.split(maxsplit=4)
        return int(before), int(count), int(after), int(misses), seen[0].strip()

    before, count, after, misses, seen = probe()
    assert (before, count, after, seen) == (2, 2, 0, "[(0, 2), (1, 2), (2, 2)]")
    # If there are two processes, the helper compiles one kernel or both.
    assert misses == 2 if processes == 1 else misses < 2
    assert probe() == (0, 0, 0, 0, "[]")


@pytest.mark.slow  # test_project.py tests one kernel
def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path):
    (tmp_path / "file").write_text("no folder")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "below")}
    command = [sys.executable, "-c", NOWHERE + PROBE, "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[:3] == ["2", "2", "0"]
