"""The build of fastlin in a process: a scheduler and its workers run the same one as this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from distributed import Client, get_worker

import fastlin
from fastlin.errors import StoppedError
from fastlin.kernels.compiler.cache import kept_syntax_hash
from fastlin.sweeps.run.lifecycle import reason_of

Result = TypeVar("Result")


def build() -> str:
    """Return the build of fastlin in this process: its version, and the hash of its kernels' syntax."""
    return f"fastlin {fastlin.__version__}, kernels {kept_syntax_hash()}"


def check_versions(client: Client) -> None:
    """Raise a StoppedError unless the scheduler and all its present workers run the same fastlin.

    Workers that join later are checked by `on_same_build` when they get a task.
    """
    answers = client.run(build, on_error="return")
    builds = {f"the worker {address}": answer for address, answer in answers.items()}
    try:
        # The scheduler computes nothing, but it must be able to read the tasks.
        builds["the scheduler"] = client.run_on_scheduler(build)
    except Exception as error:
        builds["the scheduler"] = error
    for name, answer in builds.items():
        if isinstance(answer, OSError) and name != "the scheduler":
            continue  # this worker has ended; its successor is checked by `on_same_build`
        if isinstance(answer, Exception):
            raise StoppedError(f"{name} does not run this fastlin: {reason_of(answer)}")
        _compare(name, answer, build())


def on_same_build(submitted: str, function: Callable[..., Result], *given: Any) -> Result:
    """Call a function in a worker, or raise a StoppedError if the worker runs another fastlin.

    A worker without fastlin cannot read this task, and ends. Dask gives the task to another worker.

    Parameters
    ----------
    submitted : str
        `build` of the process that submits the task.
    function : callable
        Function to call.
    *given
        Its arguments.
    """
    _compare(f"the worker {get_worker().address}", build(), submitted)
    return function(*given)


def _compare(name: str, other: str, own: str) -> None:
    if other != own:
        raise StoppedError(f"{name} runs {other}, and this process {own}; install the same in both")
