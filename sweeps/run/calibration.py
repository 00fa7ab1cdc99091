"""A short measurement of the kernels of a sweep on this machine."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastlin.kernels.compilation import Kernel, compile_all, seconds_to_compile
from fastlin.sweeps.run.evaluators import evaluator_of
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.spec.group import Group
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.costs import GROUP_SECONDS, seed_seconds, specialised
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import Location

SAMPLES = 6  # architectures that are measured for each solver; estimates of the others are scaled
SAMPLE_SECONDS = 0.15  # of each measurement
LONGEST_SECONDS = 2.0  # of one point that is measured; the estimate of a slower one counts as it is


@dataclass(frozen=True)
class Speed:
    """Ratios of measured to estimated seconds on this machine, by solver and by the estimate of a group."""

    estimates: list[NDArray[np.float64]]  # for each solver, seconds of the samples, ascending
    factors: list[NDArray[np.float64]]  # and how many times longer they took
    compile: float  # the same for compilation

    def of_blocks(self, plan: Plan) -> NDArray[np.float64]:
        """Return the seconds of every block."""
        return plan.scaled_seconds(
            lambda solver, seconds: np.interp(
                np.log(seconds), np.log(self.estimates[solver]), self.factors[solver]
            )
        )


def _seconds_of_seeds(spec: Spec) -> NDArray[np.float64]:
    """Return the estimates (architectures, solvers) of one seed, at the first values of all other axes."""
    seconds = seed_seconds(spec)
    return seconds.reshape(*seconds.shape[:3], -1)[:, 0, :, 0]


def measure(plan: Plan, lacking: list[Kernel], cores: int) -> tuple[Speed, list[Kernel]]:
    """Measure a sample of the groups whose kernels are compiled.

    If no group has its kernels, those of one group are compiled first. A plan takes seconds, and it leaves
    all further compilation to the run. Returns the ratios, and the `lacking` kernels that are left to it.
    """
    spec, modelled = plan.spec, _seconds_of_seeds(plan.spec)
    left = {kernel.key: kernel for kernel in lacking}
    estimates, factors, compile_factor = [], [], 1.0
    with threadpool_limits(limits=1, user_api="blas"):
        for at, solver in enumerate(spec.solvers):
            order = np.argsort(modelled[:, at], kind="stable")
            usable = [
                int(index)
                for index in order
                if not any(kernel.key in left for kernel in _group(plan, solver, int(index)).kernels)
            ]
            if not usable:
                # The group at half of the total work is the most typical one.
                share = np.cumsum(modelled[order, at])
                first = int(order[np.searchsorted(share, 0.5 * share[-1])])
                wanted = {kernel.key for kernel in _group(plan, solver, first).kernels}
                kernels = [left.pop(key) for key in wanted & left.keys()]
                start = time.perf_counter()
                compile_all(kernels, 1)
                compile_factor = (time.perf_counter() - start) / seconds_to_compile(kernels, 1)
                usable = [first]
            chosen = np.unique(np.linspace(0, len(usable) - 1, SAMPLES).astype(int))
            seconds = modelled[[usable[index] for index in chosen], at]
            took = [
                _measure(plan, solver, usable[index], float(estimate), cores)
                for index, estimate in zip(chosen, seconds, strict=True)
            ]
            estimates.append(seconds)
            factors.append(np.array(took) / seconds)
    return Speed(estimates, factors, compile_factor), list(left.values())


def _group(plan: Plan, solver: str, architecture: int) -> Group:
    """Return a group of an architecture and a solver, at the first place on the other axes."""
    at = {"architecture": architecture, "solver": plan.spec.solvers.index(solver)}
    position = [at.get(name, 0) for name in plan.layout.dims]
    index, within = zip(*map(divmod, position, plan.layout.status.chunk), strict=True)
    group = plan.layout.group(index, within[:-2])
    return replace(group, specialise=group.variant in specialised(plan.layout))


def _measure(plan: Plan, solver: str, architecture: int, modelled: float, cores: int) -> float:
    """Return the measured seconds of all lam of one seed on one core, in groups of the size of this plan."""
    spec = plan.spec
    if modelled > LONGEST_SECONDS * spec.lams.size:
        return modelled
    seeds = max(1, min(int(SAMPLE_SECONDS / modelled), plan.layout.block_shape.seeds))
    # A few lam are enough where one seed takes long: time is proportional to their number.
    lams = (
        spec.lams
        if modelled < SAMPLE_SECONDS
        else spec.lams[: max(1, int(spec.lams.size * SAMPLE_SECONDS / modelled))]
    )
    group = _group(plan, solver, architecture)
    group = replace(group, seeds=group.seeds[:seeds], lams=lams)
    with tempfile.TemporaryDirectory(prefix="fastlin-plan-") as folder:
        location = locate(folder)
        _unit(plan, replace(group, seeds=group.seeds[:1]), location)(0)  # loads the kernels
        unit = _unit(plan, group, location)
        unit(0)
        # Short groups are repeated, because waking a thread up takes a millisecond.
        modelled_group = modelled * group.seeds.size * lams.size / spec.lams.size
        repeats = max(1, int(SAMPLE_SECONDS / (modelled_group + GROUP_SECONDS)))

        def work(thread: int) -> None:
            for _ in range(repeats):
                unit(thread)

        start = time.perf_counter()
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(work, range(1, cores + 1)))
        seconds = (time.perf_counter() - start) / repeats
    # The estimate of the calls may exceed the time of a tiny group.
    return max(0.0, seconds - GROUP_SECONDS) / group.seeds.size * spec.lams.size / lams.size


def _unit(plan: Plan, group: Group, location: Location) -> Callable[[int], None]:
    """Return a function that computes and writes a group, as a worker does.

    Joined groups are written together, and the share of each in that time is negligible.
    """
    evaluator, alone = evaluator_of(plan.spec), math.prod(plan.layout.status.chunk[:-2]) == 1

    def run(number: int) -> None:
        for name, values in evaluator.rehearse(group).items():
            if alone:
                location.write(f"{name}/{number}", np.ascontiguousarray(values))

    return run
