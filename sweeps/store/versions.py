"""Versions of all that the numbers in a store depend on, and the processor where they depend on it."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

import numpy as np
from llvmlite import binding
from threadpoolctl import threadpool_info

from fastlin.kernels.codes import Start
from fastlin.kernels.compiler.cache import kept_syntax_hash
from fastlin.kernels.random import SEED_RULE
from fastlin.observables.registry import REGISTRY
from fastlin.solvers import SOLVERS
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.costs import sizes_of_all

PACKAGES = ("fastlin", "llvmlite", "numba", "numpy", "scipy", "zarr")


def of(spec: Spec) -> dict[str, str]:
    """Return what a store records of this installation for a sweep, with the processor if it matters.

    Eight networks at a time give the same numbers on every processor of one instruction set. A network that
    goes through BLAS does not: OpenBLAS sums in another order on another processor, and so do other versions.
    """
    return {**installed(), **({"processor": processor(), "blas": blas()} if _uses_blas(spec) else {})}


@cache
def installed() -> dict[str, str]:
    """Return what a store records of this installation for every sweep."""
    return {
        **{name: version(name) for name in PACKAGES},
        "kernels": kept_syntax_hash(),
        "machine": _machine(),
        "python": platform.python_version(),
        "seed_rule": SEED_RULE,
    }


def _machine() -> str:
    """Return the instruction set. Only kernels for x86-64 take numbers below 2^-1022 as 0."""
    name = binding.get_process_triple().partition("-")[0]
    return "aarch64" if name == "arm64" else name


def processor() -> str:
    """Return the name that LLVM has for the model of this processor."""
    return str(binding.get_host_cpu_name())


def blas() -> str:
    """Return the BLAS of NumPy and of SciPy: name, version and the processor that its kernels are for."""
    libraries = {
        " ".join(str(library[key]) for key in ("internal_api", "version", "architecture") if library.get(key))
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }
    return ", ".join(sorted(libraries)) or "unknown"


def _uses_blas(spec: Spec) -> bool:
    """Return whether the work on an architecture of a sweep goes through BLAS or LAPACK, or may do so."""
    steps = {SOLVERS[name].step for name in spec.solvers}
    if None in steps or not spec.problem(spec.values_at({})).in_lanes:
        return True  # NumPy computes what no kernel does
    decays = any(spec.decay) and any(SOLVERS[name].balanced for name in spec.solvers)
    if spec.noisy or decays or any(REGISTRY[name].of_fit for name in spec.observables):
        return True
    starts = spec.starts
    if any(REGISTRY[name].scale is not None for name in spec.observables):
        if Start.TWO_SIDED in starts:
            return True
        steps.add("time_scales")
    sizes = sizes_of_all(spec)
    drawn = bool(np.all(sizes.fits_vectors("set_up" if spec.balance else "raw_set_up")))
    followed = [sizes.followed(start) for start in starts]
    return not (drawn and all(np.all(each.fits_vectors(str(step))) for each in followed for step in steps))
