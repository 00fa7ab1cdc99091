"""The versions that a store records, and the processor if its numbers depend on it."""

import os
import subprocess
import sys

import pytest

import fastlin as fl
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import versions
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.store import Store
from tests import sweeping
from tests.sweeping import chunks, content

# Its set-up uses LAPACK, and all other steps take eight networks at a time.
LARGE = [100, 2, 60]


def spec(*architectures, **changes):
    axes = {"architecture": list(architectures), "seed": [0, 1], "lam": [0.0, 1.0]}
    return sweeping.spec(axes=axes, task={"n_samples": 120}, **changes)


def made_with(path):
    return Store.open(locate(path)).made_with


@pytest.fixture
def other_processor(monkeypatch):
    """Return a function that replaces the processor and BLAS of this process."""

    def move():
        monkeypatch.setattr(versions, "processor", lambda: "another")
        monkeypatch.setattr(versions, "blas", lambda: "openblas 0.0.1 Another")

    return move


@pytest.mark.parametrize(
    ("architecture", "solver", "expected"),
    [
        ([4, 2, 3], "exact", False),
        ([40, 40, 40], "exact", False),
        ([40, 40, 40], "gradient_descent", False),
        ([41, 41, 41], "gradient_descent", True),
        ([300, 20, 5], "exact", False),
        (LARGE, "exact", True),
        ([58, 40, 58], "exact", True),
        ([58, 40, 58], "gradient_descent", False),  # vectors are faster up to larger sizes
    ],
)
def test_the_processor_is_recorded_where_numbers_go_through_blas(architecture, solver, expected):
    rate = {} if solver == "exact" else {"learning_rate": 0.009}
    content = spec([4, 2, 4], architecture, dynamics={"solver": solver, "times": [0.0, 0.9], **rate})
    recorded = versions.of(Spec.from_dict(content | {"task": {"n_samples": 600}}))
    assert set(recorded) - set(versions.installed()) == ({"processor", "blas"} if expected else set())


def test_a_store_of_vectors_goes_on_on_another_processor(tmp_path, other_processor):
    path = tmp_path / "s.zarr"
    fl.run_sweep(spec([4, 2, 4]), path)
    before = content(path)
    other_processor()
    assert fl.run_sweep(spec([4, 2, 4]), path).pending == 0
    assert content(path) == before


def test_a_store_of_large_networks_is_refused_on_another_processor(tmp_path, other_processor):
    path = tmp_path / "s.zarr"
    original = versions.processor(), versions.blas()
    fl.run_sweep(spec(LARGE), path)
    other_processor()
    before = content(path)
    with pytest.raises(fl.InputError) as caught:
        fl.run_sweep(spec(LARGE), path)
    assert content(path) == before
    first, *differences = str(caught.value).splitlines()
    assert "was written with another processor or BLAS; --allow-version goes on if its numbers come" in first
    assert differences == [
        f"  blas: the store has {original[1]}, this installation openblas 0.0.1 Another",
        f"  processor: the store has {original[0]}, this installation another",
    ]
    assert fl.run_sweep(spec(LARGE), path, allow_version=True).pending == 0
    assert [entry["processor"] for entry in made_with(path)] == [original[0], "another"]


def test_a_store_that_gains_large_networks_records_the_processor_from_then_on(tmp_path, other_processor):
    path = tmp_path / "s.zarr"
    fl.run_sweep(spec([4, 2, 4]), path)
    other_processor()
    report = fl.run_sweep(spec([4, 2, 4], LARGE), path)
    assert (report.computed_points, report.pending) == (4, 0)
    (entry,) = made_with(path)
    assert entry == versions.of(Spec.from_dict(spec(LARGE)))
    assert entry["processor"] == "another"


def test_blas_is_named_with_its_version(monkeypatch):
    libraries = [
        {"user_api": "openmp", "internal_api": "openmp", "version": None},
        {"user_api": "blas", "internal_api": "openblas", "version": "0.3.30", "architecture": "Haswell"},
        {"user_api": "blas", "internal_api": "mkl", "version": "2025.1"},
        {"user_api": "blas", "internal_api": "openblas", "version": "0.3.30", "architecture": "Haswell"},
    ]
    monkeypatch.setattr(versions, "threadpool_info", lambda: libraries)
    assert versions.blas() == "mkl 2025.1, openblas 0.3.30 Haswell"
    monkeypatch.setattr(versions, "threadpool_info", lambda: libraries[:1])
    assert versions.blas() == "unknown"  # Apple's Accelerate has no version


PROBE = """
import sys
import fastlin as fl
axes = {
    "architecture": [[4, 2, 4], [3, 9, 5]],
    "init_scale": 1.0,
    "seed": {"start": 0, "num": 9},
    "lam": [-300.0, 0.0, 3.0],
}
dynamics = {"solver": ["exact", "gradient_descent"], "learning_rate": 0.02, "times": [0.0, 0.4, 4.0, 40.0]}
observables = ["loss", "kernel_distance", "balance_drift", "effective_rank", "convergence_time"]
spec = {"axes": axes, "task": {"n_samples": 9}, "dynamics": dynamics, "output": {"observables": observables}}
assert fl.run_sweep(spec, sys.argv[1]).diverged > 0
"""


@pytest.mark.slow
@pytest.mark.skipif(versions.installed()["machine"] != "x86_64", reason="names of other processors")
def test_vectors_give_the_same_bytes_without_avx512(tmp_path):
    stores = []
    for name, features in (("haswell", "+avx2,+fma"), ("", "")):
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        if name:
            environment |= {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
        path = tmp_path / f"{name}.zarr"
        subprocess.run([sys.executable, "-c", PROBE, str(path)], env=environment, check=True, timeout=300)
        stores.append(chunks(path))
    assert stores[0] == stores[1]
