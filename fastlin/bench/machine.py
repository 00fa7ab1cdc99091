"""A description of the machine that figures are measured on."""

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastlin.sweeps.run.executors import local_threads

PACKAGES = ("numba", "llvmlite", "numpy", "scipy", "dask", "zarr", "jax", "diffrax")


def describe() -> dict[str, Any]:
    """Return the processor, the number of cores that may be used, and the versions of packages."""
    return {
        "processor": _processor(),
        "cores": local_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"fastlin": version("fastlin"), "python": platform.python_version(), **dict(_versions())},
    }


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
