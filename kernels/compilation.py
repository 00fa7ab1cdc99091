"""The kernels that a piece of work needs, and their compilation in several processes.

Numba compiles one function at a time in a process. Therefore helper processes compile the others and save
them in the cache on disk (see `compiler.cache`), from which this process loads them.
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
from fastlin.kernels.batch import FlowControl, empty_batch
from fastlin.kernels.codes import Start
from fastlin.kernels.compiler.jit import Call
from fastlin.kernels.draws import Problem, RegressionTask, lane_start
from fastlin.kernels.sizes import WIDEST_UNROLLED, InputsRecord, Record, Sizes
from fastlin.kernels.vector import problems, raw_problems

WIDTH_OF_LOOPS = 4  # a kernel for all wide networks takes about as long to compile as one of this width
HELPER_SECONDS = 1.5  # a helper process takes so long to start and to import kernels
STEPS = ("set_up", "raw_set_up", "closed_form", "gradient_descent", "flow", "time_scales")
SET_UPS = ("set_up", "raw_set_up")


@dataclass(frozen=True)
class Kernel:
    """A step of the work on an architecture, compiled for a set of outputs or a kind of start.

    Attributes
    ----------
    step : str
        One of `STEPS`.
    sizes : Sizes
        The architecture. Kernels of the same `key` are the same code for other architectures.
    detail : tuple of int, or str
        Codes of `Output` or `Scale`, or the kind of the start for a set-up.
    specialise : bool
        Whether the kernel is compiled for these sizes alone.
    start : Start
        The kind of start that records hold.
    decays : bool
        Whether weights decay.
    """

    step: str
    sizes: Sizes
    detail: tuple[int, ...] | str
    specialise: bool = False
    start: Start = Start.BALANCED
    decays: bool = False

    @property
    def tier(self) -> str:
        """The code that runs the step: "vector", "blas", or "numpy", which needs no compilation."""
        if self.step == "time_scales" and self.start == Start.TWO_SIDED:
            return "blas"
        fits = self._followed.fits_vectors(self.step)
        if self.step in ("gradient_descent", "flow"):
            fits = self._followed.descends_in_lanes(self.start)
        if fits:
            return "vector"
        return "numpy" if self.step in SET_UPS else "blas"

    @property
    def key(self) -> tuple[Any, ...]:
        """Identity of the compiled code. Kernels of one key are the same code."""
        if self.tier != "vector":
            return (self._code, self.tier)
        detail = self.detail
        if isinstance(detail, str):
            detail = lane_start(detail, self.sizes.n_i).compiled_kind
        if self.specialise:
            return (self.step, self.sizes, detail, self.start, self.decays)
        width = self._followed.width if self._followed.unrolled and self.step not in SET_UPS else 0
        return (self.step, width, detail, self.start, self.decays)

    @property
    def _code(self) -> str:
        """The step, or the name of its own kernel for kappa > 0 or for inputs that are not whitened."""
        if self.start == Start.INPUTS:
            return f"inputs_{self.step}"
        apart = self.start == Start.TWO_SIDED and self.step in ("closed_form", "time_scales")
        return f"two_sided_{self.step}" if apart else self.step

    @property
    def _followed(self) -> Sizes:
        """Sizes of Q that the kernel follows."""
        if self.step == "closed_form" and self.start == Start.TWO_SIDED:
            return self.sizes.two_sided
        return self.sizes.followed(self.start)

    def call(self) -> Call:
        """Return the call that runs the kernel on one point."""
        sizes, special = self.sizes, self.specialise
        if isinstance(self.detail, str):
            seed, scale = np.zeros(1, dtype=np.int64), np.ones(1)
            start = lane_start(self.detail, sizes.n_i)
            problem = Problem(RegressionTask(sizes.n_i, 1.0), start, 1.0)
            if self.step == "set_up":
                return problems.prepare_records(sizes, seed, problem, scale, special)
            return raw_problems.prepare_records(sizes, seed, problem, scale, special)
        return self._prepare(sizes, self.detail, special)

    def _prepare(self, sizes: Sizes, outputs: tuple[int, ...], special: bool) -> Call:
        """Return the call that follows a network of zero weights at t = 0."""
        at: Record | InputsRecord = Record(sizes.unreduced if self.start == Start.RAW else sizes)
        if self.start == Start.INPUTS:
            at = InputsRecord(sizes.unreduced)
        record, lam = np.zeros((1, at.length)), np.zeros(1)
        times = {"gradient_descent": np.zeros(1, dtype=np.int64), "time_scales": np.empty(0)}
        batch = empty_batch(record, lam, times.get(self.step, np.zeros(1)), len(outputs))
        kappa = 1.0 if self.start == Start.TWO_SIDED else 0.0
        if self.step == "closed_form":
            return dispatch.prepare_closed_form(sizes, outputs, batch, kappa=kappa, specialise=special)
        if self.step == "time_scales":
            return dispatch.prepare_time_scales(sizes, outputs, batch, 0.5, kappa=kappa, specialise=special)
        decay = (0.5, 0.5) if self.decays else (0.0, 0.0)
        more: dict[str, Any] = {"start": self.start, "kappa": kappa, "decay": decay, "specialise": special}
        if self.step == "gradient_descent":
            return dispatch.prepare_gradient_descent(sizes, outputs, batch, 0.5, **more)
        return dispatch.prepare_flow(sizes, outputs, batch, FlowControl(1e-3, 1), **more)

    @property
    def seconds(self) -> float:
        """Estimated time of its compilation on one core."""
        if self.tier == "blas":
            return BLAS_COSTS[self._code]
        first, each = COSTS[self._code]
        return first + each * (self._followed.width if self._followed.unrolled else WIDTH_OF_LOOPS)


# Processor seconds of a compilation: a constant, and a part for each hidden column that is unrolled. They
# were measured on an Intel Xeon with AVX-512 for loss and kernel distance (`fastlin bench`, section
# "compilation").
COSTS = {
    "set_up": (0.8, 0.0),
    "raw_set_up": (0.6, 0.0),
    "closed_form": (0.4, 0.19),
    "gradient_descent": (0.3, 0.06),
    "flow": (1.4, 0.34),
    "time_scales": (0.4, 0.1),
    "two_sided_closed_form": (0.5, 0.1),
    "inputs_gradient_descent": (0.5, 0.1),
    "inputs_flow": (1.0, 0.2),
}
BLAS_COSTS = {  # for all sizes
    "closed_form": 10.0,
    "gradient_descent": 6.0,
    "flow": 7.0,
    "time_scales": 11.0,
    "two_sided_closed_form": 7.0,
    "two_sided_time_scales": 5.0,
    "inputs_gradient_descent": 5.0,
    "inputs_flow": 6.0,
}


# A kernel for one architecture saves this share of its time (`fastlin bench`, section "forms"), because LLVM
# knows the lengths of its loops.
GAIN = 0.04
# A special kernel must save so many times its compilation, because estimates may be off by a factor of two.
MARGIN = 2.0


def pays(step: str, sizes: Sizes, seconds: Any) -> Any:
    """Return whether so many seconds of work on an architecture pay for a special kernel.

    With `SizesOfMany` and an array of seconds it returns an array. The form of a kernel changes no bit.
    """
    first, each = COSTS[step]
    cost = first + each * np.minimum(sizes.width, WIDEST_UNROLLED)
    return sizes.fits_vectors(step) & (GAIN * seconds > MARGIN * cost)


def distinct(kernels: Iterable[Kernel]) -> list[Kernel]:
    """Return one kernel of each key, those first that take longest to compile."""
    by_key = {kernel.key: kernel for kernel in kernels if kernel.tier != "numpy"}
    return sorted(by_key.values(), key=lambda kernel: -kernel.seconds)


def missing(kernels: Iterable[Kernel]) -> list[Kernel]:
    """Return the distinct kernels that are not compiled yet."""
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
        Kernels as `missing` returns them, the slowest first.
    processes : int
        Number of processes that compile at the same time, this one included.
    show : callable
        It is called with the number of kernels that are compiled (0 at first), the number that were lacking,
        and an estimate of the seconds left.
    """
    if not lacking:
        return 0
    todo: SimpleQueue[Kernel] = SimpleQueue()
    for kernel in lacking:
        todo.put(kernel)
    lock, left = Lock(), list(lacking)
    processes = min(processes, len(lacking))

    def report() -> None:
        show(len(lacking) - len(left), len(lacking), seconds_to_compile(left, processes))

    def work(compile_one: Callable[[Kernel], None]) -> None:
        with suppress(Empty, OSError, EOFError):
            while True:
                kernel = todo.get_nowait()
                compile_one(kernel)
                with lock:
                    left.remove(kernel)
                    report()

    report()

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
    """Start helper processes. Yield a function for each, which has the helper compile a kernel.

    A helper that cannot start or dies does no harm, because a kernel is compiled when it is first used.
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
        triple, form = [sizes.n_i, sizes.n_h, sizes.n_o], [kernel.specialise, kernel.start, kernel.decays]
        request = [kernel.step, triple, kernel.detail, *form]
        print(json.dumps(request), file=process.stdin, flush=True)
        if not process.stdout.readline():
            raise EOFError

    return compile_one


def serve() -> None:
    """Compile the kernels that standard input names until it ends. `_helpers` starts processes of this."""
    for line in sys.stdin:
        step, sizes, detail, specialise, start, decays = json.loads(line)
        hashable = detail if isinstance(detail, str) else tuple(detail)
        Kernel(step, Sizes(*sizes), hashable, specialise, Start(start), decays).call().compile()
        print("compiled", flush=True)
