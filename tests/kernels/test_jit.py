"""Compilation that an environment variable disables."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes


def test_compilation_that_is_switched_off_is_refused_in_one_line():
    def run_python(*command):
        environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
        return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)

    line = (
        "NUMBA_DISABLE_JIT is set, so that Numba compiles nothing; unset it, as fastlin has no other kernels"
    )
    for verb in ("run rich-lazy --store s.zarr", "plan rich-lazy", "bench --only forms"):
        done = run_python("-m", "fastlin", *verb.split())
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"fastlin: {line}\n")
    for name in ("exact", "gradient_descent", "run_sweep", "solve_qqt", "random_regression"):
        done = run_python("-c", f"import fastlin as fl; fl.{name}")
        assert done.stderr.splitlines()[-1] == f"ImportError: {line}"
    assert run_python("-c", "import fastlin").returncode == 0
    assert run_python("-m", "fastlin", "--help").returncode == 0
