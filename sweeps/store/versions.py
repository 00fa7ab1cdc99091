"""Versions of all that the numbers in a store depend on."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

from fastlin.kernels.compiler.jit import SOURCE_HASH
from fastlin.kernels.random import SEED_RULE

PACKAGES = ("fastlin", "llvmlite", "numba", "numpy", "scipy", "zarr")


@cache
def here() -> dict[str, str]:
    """Return the versions of all that a number in a store depends on, and of what writes it."""
    return {
        **{name: version(name) for name in PACKAGES},
        "kernels": SOURCE_HASH,
        "python": platform.python_version(),
        "seed_rule": SEED_RULE,
    }
