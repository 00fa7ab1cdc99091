"""The measurements of `fastlin bench`, and the figures that it prints with `--json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from fastlin.bench import architectures, compilation, flow, forms, plans, rivals, stacks, two_sided
from fastlin.bench.case import Case
from fastlin.bench.compare import measure as compare
from fastlin.bench.compare.tools import TOOLS
from fastlin.bench.flops import flops_per_step
from fastlin.bench.flow import FlowExtent
from fastlin.bench.machine import describe
from fastlin.bench.stacks import StackExtent
from fastlin.bench.sweep import measure_sweep
from fastlin.bench.timing import Note, Run, alternate, repeat, repeats
from fastlin.bench.widths import FAMILIES, WIDTHS, measure_widths
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.compiler.peak import FLOPS_PER_ROUND, multiply_add
from fastlin.sweeps.run.executors import local_threads

Shape = tuple[int, int, int]

RIVALS = ("numpy", "jax")
SECTIONS = (
    "kernels",
    "two-sided",
    "flow",
    "stacks",
    "widths",
    "forms",
    "compilation",
    "architectures",
    "sweep",
    "plan",
    "compare",
)
# Plans are compared with runs, and fastlin with other tools, only on request. Both take minutes.
DEFAULT_SECTIONS = SECTIONS[:-2]
RATE = 0.002  # of gradient descent, for which every architecture below converges
DT, TIMES = 0.05, 101  # a uniform grid of short steps, because the rivals lose digits in long ones
LATE, LATEST = 90.0, 1e6
PEAK_ROUNDS = 4_000_000  # 10 ms


@dataclass(frozen=True)
class Extent:
    """The amount of work that an architecture is measured on.

    It is so large that the cost of calls does not show, and small enough to be quick.
    """

    seeds: int = 160
    lams: int = 64
    steps: int = 1000
    problems: int = 2000  # that are drawn and factorised
    stack: int = 1024  # networks that NumPy takes at a time, and JAX on each core
    alone: int = 8  # networks that NumPy takes one at a time
    rival_steps: int = 200
    rounds: int = 7


@dataclass(frozen=True)
class Program:
    """All measurements, and the sections of them that are run."""

    sections: Sequence[str] = DEFAULT_SECTIONS
    small: Sequence[Shape] = ((2, 2, 4), (4, 2, 4), (6, 2, 6), (4, 4, 4), (8, 4, 8), (16, 4, 16))
    large: Sequence[Shape] = ((100, 10, 100), (784, 64, 10))
    each_small: Extent = Extent()
    each_large: Extent = Extent(
        seeds=4, lams=16, steps=100, problems=16, stack=4, alone=1, rival_steps=50, rounds=3
    )
    two_sided_shapes: Sequence[Shape] = two_sided.SHAPES
    two_sided_lams: int = 32
    two_sided_rounds: int = 9
    flow_shapes: Sequence[Shape] = flow.SHAPES
    flow_extent: FlowExtent = field(default_factory=FlowExtent)
    flow_sweeps: Mapping[Shape, Sequence[int]] = field(default_factory=lambda: flow.SWEEPS)
    stack_shapes: Sequence[Shape] = stacks.SHAPES
    stack_extent: StackExtent = field(default_factory=StackExtent)
    families: Sequence[str] = FAMILIES
    widths: Sequence[int] = WIDTHS
    width_lams: int = 16
    width_rounds: int = 5
    form_shapes: Sequence[Shape] = forms.SHAPES
    form_lams: int = 32
    form_rounds: int = 9
    kernels: Sequence[tuple[str, Shape]] = compilation.KERNELS
    sweeps: dict[str, str] = field(default_factory=lambda: architectures.SWEEPS)
    first_rounds: int = 5
    planned: dict[str, str] = field(default_factory=lambda: plans.PLANNED)
    preset: str = "phase-10m"
    preset_seeds: Sequence[int] = (139, 1389, 13889)
    preset_rounds: int = 3
    compared: compare.Extent = field(default_factory=compare.Extent)
    compared_tools: Sequence[str] = tuple(TOOLS)


def measure(program: Program, against: Sequence[str], note: Note) -> dict[str, Any]:
    """Return the figures of a program, compared with "numpy", "jax" or both. Times are medians of rounds."""
    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "kernels": lambda: _kernels(program, against, note),
        "two-sided": lambda: {
            "two_sided": two_sided.measure_two_sided(
                program.two_sided_shapes, program.two_sided_lams, program.two_sided_rounds, note
            )
        },
        "flow": lambda: {
            "flow": flow.measure_flow(program.flow_shapes, program.flow_extent, against, note),
            "filling": flow.measure_filling(program.flow_sweeps, program.flow_extent.rounds, note),
        },
        "stacks": lambda: {"stacks": stacks.measure_stacks(program.stack_shapes, program.stack_extent, note)},
        "widths": lambda: {
            "widths": measure_widths(
                program.families, program.widths, program.width_lams, program.width_rounds, note
            )
        },
        "forms": lambda: {
            "forms": forms.measure_forms(program.form_shapes, program.form_lams, program.form_rounds, note)
        },
        "compilation": lambda: {"compilation": compilation.measure_compilation(program.kernels, note)},
        "architectures": lambda: {
            "architectures": architectures.measure_architectures(program.sweeps, note),
            "first_calls": architectures.measure_first_calls(program.first_rounds, note),
        },
        "sweep": lambda: {
            "sweep": measure_sweep(program.preset, program.preset_seeds, program.preset_rounds, note)
        },
        "plan": lambda: {"plan": plans.measure_plans(program.planned, note)},
        "compare": lambda: {
            "compare": compare.measure_compare(program.compared, note, program.compared_tools)
        },
    }
    figures = {"machine": describe()}
    for name in SECTIONS:
        if name in program.sections:
            with threadpool_limits(limits=1, user_api="blas"):  # one core is compared with one core
                figures |= sections[name]()
    return figures


def _kernels(program: Program, against: Sequence[str], note: Note) -> dict[str, Any]:
    """Return the peak of a core, and the rows of each architecture."""
    rows: dict[str, dict[str, Any]] = {"gradient_descent": {}, "closed_form": {}, "setup": {}}
    peaks = []
    sizes = [(shape, program.each_small, tuple(against)) for shape in program.small]
    # XLA takes minutes to compile loops over large matrices, which are then no faster than those of NumPy.
    sizes += [(shape, program.each_large, tuple({*against} - {"jax"})) for shape in program.large]
    cores = local_threads()
    with rivals.Jax(cores) as jax:
        for shape, extent, opponents in sizes:
            name = "-".join(map(str, shape))
            bench = _Architecture(shape, extent, opponents, cores, jax)
            for kind, run in (
                ("gradient_descent", bench.gradient_descent),
                ("closed_form", bench.closed_form),
                ("setup", bench.set_up),
            ):
                note(f"{kind} {name}")
                peak, rows[kind][name] = run()
                peaks.append(peak)
    return {"fma_gflops": median(peaks), **rows}


class _Architecture:
    """The rows of one architecture."""

    def __init__(
        self, shape: Shape, extent: Extent, against: Sequence[str], cores: int, jax: rivals.Jax
    ) -> None:
        self._case = Case(shape, extent.seeds, np.linspace(-9.0, 9.0, extent.lams))
        self._extent, self._against, self._cores, self._jax = extent, against, cores, jax
        self._stack = self._case.networks(min(extent.stack * self._cores, self._case.points))

    def gradient_descent(self) -> tuple[float, dict[str, Any]]:
        """Return the peak in GFLOPS, and the ns per step of one network, with ratios to the rivals."""
        extent, steps = self._extent, self._extent.rival_steps
        seconds = self._versus(
            partial(self._case.gradient_descent, RATE, extent.steps),
            extent.steps,
            lambda net: rivals.numpy_descent(net, RATE, steps),
            lambda net: self._jax.descent(net, RATE, steps),
            steps,
        )
        peak = 1e-9 / seconds["peak"]
        sizes = self._case.architecture.sizes
        flops = flops_per_step(sizes) if sizes.fits_lanes_to_descend else None
        return peak, {
            "ns_per_step": 1e9 * seconds["one"],
            "flops_per_step": flops,
            "peak_fraction": flops and 1e-9 * flops / seconds["one"] / peak,
            **self._ratios(seconds),
        }

    def closed_form(self) -> tuple[float, dict[str, Any]]:
        """Return the peak in GFLOPS, and the ns per configuration and time, with ratios to the rivals."""
        times = DT * np.arange(TIMES, dtype=np.float64)
        seconds = self._versus(
            partial(self._case.closed_form, times),
            TIMES,
            lambda net: rivals.numpy_closed_form(net, DT, TIMES),
            lambda net: self._jax.closed_form(net, DT, TIMES),
            TIMES,
        )
        single = alternate(
            {
                name: Run(self._case.closed_form(np.array([t])), self._case.points)
                for name, t in (("late", LATE), ("latest", LATEST), ("inf", np.inf))
            },
            self._extent.rounds,
        )
        return 1e-9 / seconds["peak"], {
            "ns_per_point": 1e9 * seconds["one"],
            "ns_late": 1e9 * max(single["late"], single["latest"]),
            "ns_inf": 1e9 * single["inf"],
            **self._ratios(seconds),
        }

    def set_up(self) -> tuple[float, dict[str, Any]]:
        """Return the peak in GFLOPS, and the us to draw and factorise a problem."""
        problems = np.arange(self._extent.problems)
        runs = {"peak": _peak(), "one": Run(partial(self._case.set_up, problems), problems.size)}
        seconds = alternate(runs, self._extent.rounds)
        return 1e-9 / seconds["peak"], {"us": 1e6 * seconds["one"]}

    def _versus(
        self,
        prepare: Callable[[], Callable[[], Array]],
        units: int,
        numpy: Callable[[rivals.Networks], Array],
        jax: Callable[[rivals.Networks], Array],
        rival_units: int,
    ) -> dict[str, float]:
        """Return the seconds per unit of one network: of kernels on one core and on all, and of rivals."""
        extent, cores, stack = self._extent, self._cores, self._stack
        prepared = [prepare() for _ in range(cores)]
        times = repeats(prepared[0])
        ours = [partial(repeat, run, times) for run in prepared]
        units *= self._case.points * times
        with ThreadPoolExecutor(cores) as pool:
            runs = {
                "peak": _peak(),
                "one": Run(ours[0], units),
                "all": Run(lambda: list(pool.map(lambda run: run(), ours)), cores * units),
            }
            if "numpy" in self._against:
                few, alone = stack.part(slice(extent.stack)), range(extent.alone)
                runs["numpy"] = Run(lambda: numpy(few), len(few.lam) * rival_units)
                runs["numpy_single"] = Run(
                    lambda: [numpy(few.part(index)) for index in alone], len(alone) * rival_units
                )
            if "jax" in self._against:
                runs["jax"] = Run(lambda: jax(stack), len(stack.lam) * rival_units)
            return alternate(runs, extent.rounds)

    def _ratios(self, seconds: dict[str, float]) -> dict[str, float | None]:
        """Return the speed over that of each rival: of NumPy on one core, of JAX on all cores."""

        def ratio(rival: str, own: str) -> float | None:
            return seconds[rival] / seconds[own] if rival in seconds else None

        return {
            "vs_numpy": ratio("numpy", "one"),
            "vs_numpy_single": ratio("numpy_single", "one"),
            "vs_jax": ratio("jax", "all"),
            "cores_over_one": ratio("one", "all"),
        }


def _peak() -> Run:
    return Run(partial(multiply_add, PEAK_ROUNDS), PEAK_ROUNDS * FLOPS_PER_ROUND)
