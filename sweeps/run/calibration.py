"""A short measurement of the kernels of a sweep on this machine."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastlin.kernels.compilation import Kernel, compile_all, seconds_to_compile
from fastlin.sweeps.run.evaluators import evaluator_of
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.spec.group import Group
from fastlin.sweeps.store.costs import GROUP_SECONDS, point_seconds, seed_seconds, specialised
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import Location
from fastlin.sweeps.store.point_set import TablePoints

SAMPLES = 6  # architectures that are measured for each solver; estimates of the others are scaled
SAMPLE_SECONDS = 0.15  # of each measurement
LONGEST_SECONDS = 2.0  # of one point that is measured; the estimate of a slower one counts as it is


@dataclass(frozen=True)
class Speed:
    """Ratios of measured to estimated seconds on this machine, by solver and by the estimate."""

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


class Sample(NamedTuple):
    """A group that may be measured, and the estimated time of so many of its columns, for one seed."""

    seconds: float
    columns: int
    group: Group


def measure(plan: Plan, lacking: list[Kernel], cores: int) -> tuple[Speed, list[Kernel]]:
    """Measure a sample of the groups whose kernels are compiled.

    If no group has its kernels, those of one group are compiled first. A plan takes seconds, and it leaves
    all further compilation to the run. Returns the ratios, and the `lacking` kernels that are left to it.
    """
    left = {kernel.key: kernel for kernel in lacking}
    estimates, factors, compile_factor = [], [], 1.0
    with threadpool_limits(limits=1, user_api="blas"):
        for solver in plan.spec.solvers:
            samples = sorted(_samples(plan, solver), key=lambda sample: sample.seconds)
            usable = [
                each for each in samples if not any(kernel.key in left for kernel in each.group.kernels)
            ]
            if not usable:
                # The group at half of the total work is the most typical one.
                share = np.cumsum([each.seconds for each in samples])
                first = samples[int(np.searchsorted(share, 0.5 * share[-1]))]
                wanted = {kernel.key for kernel in first.group.kernels}
                kernels = [left.pop(key) for key in wanted & left.keys()]
                start = time.perf_counter()
                compile_all(kernels, 1)
                compile_factor = (time.perf_counter() - start) / seconds_to_compile(kernels, 1)
                usable = [first]
            chosen = np.unique(np.linspace(0, len(usable) - 1, SAMPLES).astype(int))
            seconds = np.array([usable[index].seconds for index in chosen])
            took = [_measure(plan, usable[index], cores) for index in chosen]
            estimates.append(seconds)
            factors.append(np.array(took) / seconds)
    return Speed(estimates, factors, compile_factor), list(left.values())


def _samples(plan: Plan, solver: str) -> list[Sample]:
    """Return a group of each architecture with a solver."""
    special = specialised(plan.layout)
    of_kind = _samples_of_product if plan.spec.table is None else _samples_of_table
    return [
        each._replace(group=replace(each.group, specialise=each.group.variant in special))
        for each in of_kind(plan, solver)
    ]


def _samples_of_product(plan: Plan, solver: str) -> Iterator[Sample]:
    """Yield the group of each architecture at the first place on the other axes."""
    spec, number = plan.spec, plan.spec.solvers.index(solver)
    seconds_of_all = seed_seconds(spec)
    modelled = seconds_of_all.reshape(*seconds_of_all.shape[:3], -1)[:, 0, number, 0]
    for architecture, seconds in enumerate(modelled):
        at = {"architecture": architecture, "solver": number}
        position = [at.get(name, 0) for name in plan.layout.dims]
        index, within = zip(*map(divmod, position, plan.layout.status.chunk), strict=True)
        yield Sample(float(seconds), spec.lams.size, plan.layout.group(index, within[:-2]))


def _samples_of_table(plan: Plan, solver: str) -> Iterator[Sample]:
    """Yield the first run of rows of each architecture, as far as a block has it."""
    layout, points = plan.layout, plan.layout.points
    assert isinstance(points, TablePoints)
    seconds, seeds = point_seconds(layout)[0], layout.block_seeds(layout.index(0))
    has_solver = np.zeros((1, seconds.size), dtype=bool)
    has_solver[points.of_solver(solver)] = True
    starts = points.sorted.starts
    ends = np.append(starts[1:], seconds.size)
    runs = np.flatnonzero(has_solver[0, starts])
    _, firsts = np.unique(points.architecture_codes[starts[runs]], return_index=True)
    for run in runs[np.sort(firsts)]:
        first, last = int(starts[run]), int(ends[run])
        rows = slice(first, min(last, first + layout.block_shape.points))
        yield Sample(float(seconds[rows].mean()), 1, points.run(rows, seeds))


def _measure(plan: Plan, sample: Sample, cores: int) -> float:
    """Return the measured seconds of a sample on one core, in groups of the size of this plan."""
    group, each = sample.group, sample.seconds / sample.columns
    if each > LONGEST_SECONDS:
        return sample.seconds
    seeds = max(1, min(int(SAMPLE_SECONDS / (each * group.lams.size)), group.seeds.size))
    # A few columns are enough where one seed takes long: time is proportional to their number.
    columns = max(1, min(group.lams.size, int(SAMPLE_SECONDS / each)))
    group = group.part(slice(seeds), slice(columns))
    with tempfile.TemporaryDirectory(prefix="fastlin-plan-") as folder:
        location = locate(folder)
        _unit(plan, group.part(slice(1), slice(None)), location)(0)  # loads the kernels
        unit = _unit(plan, group, location)
        unit(0)
        # Short groups are repeated, because waking a thread up takes a millisecond.
        repeats = max(1, int(SAMPLE_SECONDS / (each * group.points + GROUP_SECONDS)))

        def work(thread: int) -> None:
            for _ in range(repeats):
                unit(thread)

        start = time.perf_counter()
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(work, range(1, cores + 1)))
        seconds = (time.perf_counter() - start) / repeats
    # The estimate of the calls may exceed the time of a tiny group.
    return max(0.0, seconds - GROUP_SECONDS) / group.points * sample.columns


def _unit(plan: Plan, group: Group, location: Location) -> Callable[[int], None]:
    """Return a function that computes and writes a group, as a worker does.

    Joined groups are written together, and the share of each in that time is negligible.
    """
    evaluator = evaluator_of(plan.spec)
    alone = plan.spec.table is None and math.prod(plan.layout.status.chunk[:-2]) == 1

    def run(number: int) -> None:
        for name, values in evaluator.rehearse(group).items():
            if alone:
                location.write(f"{name}/{number}", np.ascontiguousarray(values))

    return run
