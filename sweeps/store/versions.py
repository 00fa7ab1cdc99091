"""Versions of all that the numbers in a store depend on."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

from fastlin.kernels.random import SEED_RULE
from fastlin.kernels.source import syntax_hash

PACKAGES = ("fastlin", "llvmlite", "numba", "numpy", "scipy", "zarr")


@cache
def here() -> dict[str, str]:
    """Return the versions of all that a number in a store depends on, and of what writes it."""
    return {
        **{name: version(name) for name in PACKAGES},
        "kernels": syntax_hash(),
        "python": platform.python_version(),
        "seed_rule": SEED_RULE,
    }
