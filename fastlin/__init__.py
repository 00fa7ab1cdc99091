"""Exact learning dynamics of two-layer linear networks, one at a time and in sweeps.

Names are loaded on first use, so that ``import fastlin`` and ``fastlin --help`` cost nothing.
"""

import typing as _typing
from importlib import import_module as _import_module
from os import path as _path

if _typing.TYPE_CHECKING:
    from fastlin import plot
    from fastlin.architecture import Architecture
    from fastlin.errors import DamageWarning, InputError, MeanWarning, SaddleWarning, StoppedError
    from fastlin.kinds.starts import balanced_init, random_init
    from fastlin.kinds.task_kinds import random_regression, student_teacher
    from fastlin.networks.low_rank import lora
    from fastlin.networks.network import Network
    from fastlin.networks.stacks import Networks, Tasks
    from fastlin.observables.registry import OBSERVABLES
    from fastlin.solutions.descent import gradient_descent
    from fastlin.solutions.exact import exact
    from fastlin.solutions.flow import flow
    from fastlin.solutions.sequence import sequence
    from fastlin.sweeps.explore.server import explore
    from fastlin.sweeps.read.bracketing import borders, refine
    from fastlin.sweeps.read.open import open_sweep
    from fastlin.sweeps.read.rebuild import rebuild
    from fastlin.sweeps.run.merge import merge_sweeps
    from fastlin.sweeps.run.projection import plan
    from fastlin.sweeps.run.run import run_sweep
    from fastlin.sweeps.spec.spec import Spec
    from fastlin.tasks.related import reversed, similar
    from fastlin.tasks.structured import autoencoder, hierarchy, spectrum
    from fastlin.tasks.task import Task
    from fastlin.weights.solve import solve_qqt

    __version__: str

_HOMES = {
    "Architecture": "architecture",
    "DamageWarning": "errors",
    "InputError": "errors",
    "MeanWarning": "errors",
    "Network": "networks.network",
    "Networks": "networks.stacks",
    "OBSERVABLES": "observables.registry",
    "SaddleWarning": "errors",
    "Spec": "sweeps.spec.spec",
    "StoppedError": "errors",
    "Task": "tasks.task",
    "Tasks": "networks.stacks",
    "autoencoder": "tasks.structured",
    "balanced_init": "kinds.starts",
    "borders": "sweeps.read.bracketing",
    "exact": "solutions.exact",
    "explore": "sweeps.explore.server",
    "flow": "solutions.flow",
    "gradient_descent": "solutions.descent",
    "hierarchy": "tasks.structured",
    "lora": "networks.low_rank",
    "merge_sweeps": "sweeps.run.merge",
    "open_sweep": "sweeps.read.open",
    "plan": "sweeps.run.projection",
    "plot": "plot:",
    "random_init": "kinds.starts",
    "random_regression": "kinds.task_kinds",
    "rebuild": "sweeps.read.rebuild",
    "refine": "sweeps.read.bracketing",
    "reversed": "tasks.related",
    "run_sweep": "sweeps.run.run",
    "sequence": "solutions.sequence",
    "similar": "tasks.related",
    "solve_qqt": "weights.solve",
    "spectrum": "tasks.structured",
    "student_teacher": "kinds.task_kinds",
}

__all__ = [
    "OBSERVABLES",
    "Architecture",
    "DamageWarning",
    "InputError",
    "MeanWarning",
    "Network",
    "Networks",
    "SaddleWarning",
    "Spec",
    "StoppedError",
    "Task",
    "Tasks",
    "autoencoder",
    "balanced_init",
    "borders",
    "exact",
    "explore",
    "flow",
    "gradient_descent",
    "hierarchy",
    "lora",
    "merge_sweeps",
    "open_sweep",
    "plan",
    "plot",
    "random_init",
    "random_regression",
    "rebuild",
    "refine",
    "reversed",
    "run_sweep",
    "sequence",
    "similar",
    "solve_qqt",
    "spectrum",
    "student_teacher",
]

# Git writes a symbolic link as a text file where core.symlinks is off, as it is on most Windows systems.
if any(_path.isfile(_path.join(_path.dirname(__file__), _name)) for _name in ("kernels", "sweeps")):
    raise ImportError(
        "fastlin/kernels and fastlin/sweeps are text files instead of symbolic links: "
        "run `git config core.symlinks true`, then `git checkout -- fastlin`, with permission to create links"
    )

_import_module("fastlin.sweeps.read.registration").register()

# Type checkers must not see this function: with it, every name would be an attribute of the package.
if not _typing.TYPE_CHECKING:

    def __getattr__(name):
        if name == "__version__":
            from importlib.metadata import version

            globals()[name] = version("fastlin")
            return globals()[name]
        if name not in _HOMES:
            raise AttributeError(f"module 'fastlin' has no attribute {name!r}")
        home, _, attribute = _HOMES[name].partition(":")
        module = _import_module(f"fastlin.{home}")
        value = module if _HOMES[name].endswith(":") else getattr(module, attribute or name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
