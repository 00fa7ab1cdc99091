"""Which kernels a piece of work needs, whether they are compiled, and compiling them side by side.

Numba compiles one function at a time in a process, so further processes compile the others and leave them in
the cache on disk (see `compiler.jit`), where this process finds them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

import numpy as np

from fastlin.kernels import dispatch
from fastlin.kernels.batch import empty_batch
from fastlin.kernels.compiler.jit import Call
from fastlin.kernels.draws import AlignedStart, GaussianStart, Problem, RegressionStart, RegressionTask
from fastlin.kernels.sizes import WIDEST_UNROLLED, Record, Sizes
from fastlin.kernels.vector import problems

HELPER_SECONDS = 1.5  # for a process to start and import what it compiles
STEPS = ("set_up", "closed_form", "gradient_descent", "time_scales")


@dataclass(frozen=True)
class Kernel:
    """A step of the work on an architecture, compiled for a set of outputs or a kind of start.

    Attributes
    ----------
    step : str
        One of `STEPS`.
    sizes : Sizes
        The architecture. In the form for run-time sizes, any other one of the same `key` would do.
    detail : tuple of int, or str
        Codes of `Output` or `Scale`; of a set-up the kind of the start.
    specialise : bool
        Whether it is compiled for these sizes alone.
    """

    step: str
    sizes: Sizes
    detail: tuple[int, ...] | str
    specialise: bool = False

    @property
    def tier(self) -> str:
        """Which code runs it: "vector", "blas", or "numpy", which needs no compilation."""
        if self.step == "set_up":
            return "vector" if self.sizes.fits_setup else "numpy"
        descends = self.step == "gradient_descent"
        fits = self.sizes.fits_lanes_to_descend if descends else self.sizes.fits_lanes
        return "vector" if fits else "blas"

    @property
    def key(self) -> tuple[Any, ...]:
        """Identity of the compiled code: kernels of one key are the same code."""
        if self.tier != "vector":
            return (self.step, self.tier)
        if self.specialise:
            return (self.step, self.sizes, self.detail)
        width = self.sizes.width if self.sizes.unrolled and self.step != "set_up" else 0
        return (self.step, width, self.detail)

    def call(self) -> Call:
        """Return the call that runs it on one point."""
        sizes, special = self.sizes, self.specialise
        if isinstance(self.detail, str):
            seed = np.zeros(1, dtype=np.int64)
            starts = (GaussianStart(), RegressionStart(sizes.n_i), AlignedStart())
            (start,) = (start for start in starts if start.kind == self.detail)
            problem = Problem(RegressionTask(sizes.n_i, 1.0), start, 1.0)
            return problems.prepare_records(sizes, seed, problem, special)
        record, lam = np.zeros((1, Record(sizes).length)), np.zeros(1)
        times = {"gradient_descent": np.zeros(1, dtype=np.int64), "time_scales": np.empty(0)}
        batch = empty_batch(record, lam, times.get(self.step, np.zeros(1)), len(self.detail))
        if self.step == "closed_form":
            return dispatch.prepare_closed_form(sizes, self.detail, batch, specialise=special)
        if self.step == "gradient_descent":
            return dispatch.prepare_gradient_descent(sizes, self.detail, batch, 0.5, specialise=special)
        return dispatch.prepare_time_scales(sizes, self.detail, batch, 0.5, specialise=special)

    @property
    def seconds(self) -> float:
        """Estimated time of its compilation on one core; see the module `COSTS` were measured by."""
        if self.tier == "blas":
            return BLAS_COSTS[self.step]
        first, each = COSTS[self.step]
        width = self.sizes.width if self.sizes.unrolled else 4
        return first + each * width


# Processor seconds of a compilation: a constant, and for each hidden column that is unrolled. Measured on an
# Intel Xeon with AVX-512 for loss and kernel distance (`fastlin bench`, section "compilation"); a kernel for
# all wide networks takes about as long as one of width 4.
COSTS = {
    "set_up": (0.8, 0.0),
    "closed_form": (0.4, 0.19),
    "gradient_descent": (0.3, 0.06),
    "time_scales": (0.4, 0.1),
}
BLAS_COSTS = {"closed_form": 10.0, "gradient_descent": 6.0, "time_scales": 11.0}  # for all sizes


# Share of its time that a kernel for one architecture saves (`fastlin bench`, "forms"): LLVM then knows the
# lengths of loops.
GAIN = 0.04
# How much more than its own compilation a special kernel must save: estimates may be off by a factor of two.
MARGIN = 2.0


def pays(step: str, sizes: Sizes, seconds: Any) -> Any:
    """Return whether so many seconds of work on an architecture pay for a kernel of its own.

    Both may be arrays, of many architectures (`SizesOfMany`). Only time depends on the form, never a bit.
    """
    descends = step == "gradient_descent"
    fits = sizes.fits_lanes_to_descend if descends else sizes.fits_lanes
    first, each = COSTS[step]
    cost = first + each * np.minimum(sizes.width, WIDEST_UNROLLED)
    return fits & (GAIN * seconds > MARGIN * cost)


def distinct(kernels: Iterable[Kernel]) -> list[Kernel]:
    """Return one kernel of each key: those that take longest to compile come first."""
    found = {kernel.key: kernel for kernel in kernels if kernel.tier != "numpy"}
    return sorted(found.values(), key=lambda kernel: -kernel.seconds)


def missing(kernels: Iterable[Kernel]) -> list[Kernel]:
    """Return those of the distinct kernels that are not compiled yet."""
    return [kernel for kernel in distinct(kernels) if not kernel.call().compiled]


def compile_all(
    lacking: list[Kernel],
    processes: int,
    show: Callable[[int, int, float], None] = lambda done, total, left: None,
) -> int:
    """Compile kernels in this process and in others; return how many they are.

    Parameters
    ----------
    lacking : list of Kernel
        As `missing` returns them: the slowest first.
    processes : int
        How many compile at the same time, this one included.
    show : callable
        Called with the numbers of kernels that are compiled, at first 0, and that were lacking, and with an
        estimate of the seconds left.
    """
    if not lacking:
        return 0
    todo: SimpleQueue[Kernel] = SimpleQueue()
    for kernel in lacking:
        todo.put(kernel)
    lock, left = Lock(), list(lacking)
    processes = min(processes, len(lacking))

    def say() -> None:
        show(len(lacking) - len(left), len(lacking), seconds_to_compile(left, processes))

    def work(compile_one: Callable[[Kernel], None]) -> None:
        with suppress(Empty, OSError, EOFError):
            while True:
                kernel = todo.get_nowait()
                compile_one(kernel)
                with lock:
                    left.remove(kernel)
                    say()

    say()

    with _helpers(processes - 1) as helpers:
        threads = [Thread(target=work, args=(helper,), daemon=True) for helper in helpers]
        for thread in threads:
            thread.start()
        work(lambda kernel: kernel.call().compile())
        for thread in threads:
            thread.join()
    return len(lacking)


def seconds_to_compile(kernels: list[Kernel], processes: int) -> float:
    """Estimate the time to compile distinct kernels with so many processes."""
    if not kernels:
        return 0.0
    seconds = [kernel.seconds for kernel in kernels]
    shared = (sum(seconds) + HELPER_SECONDS * (processes - 1)) / processes
    return min(sum(seconds), max(shared, *seconds))


@contextmanager
def _helpers(count: int) -> Iterator[list[Callable[[Kernel], None]]]:
    """Start processes that compile; yield for each a function that has a kernel compiled by it.

    A helper that cannot start or dies is not missed: the kernel it had is compiled when it is first used.
    """
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.DEVNULL,
    }
    started = []
    with suppress(OSError):
        started += [subprocess.Popen(command, text=True, env=_environment(), **pipes) for _ in range(count)]
    try:
        yield [_compiler(process) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()


def _environment() -> dict[str, str]:
    """Return the environment of a helper, which imports the same fastlin as this process."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _compiler(process: subprocess.Popen[str]) -> Callable[[Kernel], None]:
    def compile_one(kernel: Kernel) -> None:
        assert process.stdin is not None and process.stdout is not None
        sizes = kernel.sizes
        order = [kernel.step, [sizes.n_i, sizes.n_h, sizes.n_o], kernel.detail, kernel.specialise]
        print(json.dumps(order), file=process.stdin, flush=True)
        if not process.stdout.readline():
            raise EOFError

    return compile_one


def serve() -> None:
    """Compile the kernels that standard input names, until it ends: the other side of `_helpers`."""
    for line in sys.stdin:
        step, sizes, detail, specialise = json.loads(line)
        given = detail if isinstance(detail, str) else tuple(detail)
        Kernel(step, Sizes(*sizes), given, specialise).call().compile()
        print("compiled", flush=True)
