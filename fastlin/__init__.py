"""Exact learning dynamics of two-layer linear networks, one at a time and in sweeps.

Names are loaded on first use, so that ``import fastlin`` and ``fastlin --help`` cost nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastlin import plot
    from fastlin.architecture import Architecture
    from fastlin.dynamics import exact, gradient_descent
    from fastlin.errors import InputError, SaddleWarning, StoppedError
    from fastlin.network import Network, balanced_init
    from fastlin.observables import OBSERVABLES
    from fastlin.solve import solve_qqt
    from fastlin.sweeps.read.open import open_sweep, rebuild
    from fastlin.sweeps.run.run import run_sweep
    from fastlin.sweeps.spec.spec import Spec
    from fastlin.task import Task, random_regression

_HOMES = {
    "Architecture": "architecture",
    "InputError": "errors",
    "Network": "network",
    "OBSERVABLES": "observables",
    "SaddleWarning": "errors",
    "Spec": "sweeps.spec.spec",
    "StoppedError": "errors",
    "Task": "task",
    "balanced_init": "network",
    "exact": "dynamics",
    "gradient_descent": "dynamics",
    "open_sweep": "sweeps.read.open",
    "plot": "plot:",
    "random_regression": "task",
    "rebuild": "sweeps.read.open",
    "run_sweep": "sweeps.run.run",
    "solve_qqt": "solve",
}

__all__ = [
    "OBSERVABLES",
    "Architecture",
    "InputError",
    "Network",
    "SaddleWarning",
    "Spec",
    "StoppedError",
    "Task",
    "balanced_init",
    "exact",
    "gradient_descent",
    "open_sweep",
    "plot",
    "random_regression",
    "rebuild",
    "run_sweep",
    "solve_qqt",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        globals()[name] = version("fastlin")
        return globals()[name]
    if name not in _HOMES:
        raise AttributeError(f"module 'fastlin' has no attribute {name!r}")
    home, _, attribute = _HOMES[name].partition(":")
    module = import_module(f"fastlin.{home}")
    value = module if _HOMES[name].endswith(":") else getattr(module, attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
