"""The cost of a stack of networks in Python, beside a loop over its networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from fastlin.architecture import Architecture
from fastlin.bench.timing import Note, Run, alternate
from fastlin.kinds.starts import balanced_init
from fastlin.kinds.task_kinds import random_regression
from fastlin.networks.stacks import Networks
from fastlin.solutions.descent import gradient_descent
from fastlin.solutions.exact import exact
from fastlin.solutions.flow import flow

Shape = tuple[int, int, int]

SHAPES = ((4, 8, 4),)
TIMES = np.linspace(0.0, 20.0, 30)
RATE, STEPS, EVERY = 0.01, 1000, 100
BY_KERNEL = ["loss", "kernel_distance"]


class StackExtent(NamedTuple):
    """The number of networks, of networks that the loop takes, and of rounds."""

    seeds: int = 100
    lams: int = 17
    alone: int = 17
    rounds: int = 3


def measure_stacks(shapes: Sequence[Shape], extent: StackExtent, note: Note) -> dict[str, Any]:
    """Return the seconds of a stack and of a loop over its networks, and their ratio, for each function.

    Each seed has its own random regression task. A loop takes some of the networks, and its time is that of
    all of them.
    """
    figures: dict[str, Any] = {}
    for shape in shapes:
        name = "-".join(map(str, shape))
        note(f"stacks of {name}")
        figures[name] = {"networks": extent.seeds * extent.lams, "functions": {}}
        for function, pair in _functions(Architecture(*shape), extent).items():
            seconds = alternate(pair, extent.rounds)
            each = {key: value * figures[name]["networks"] for key, value in seconds.items()}
            figures[name]["functions"][function] = each | {"ratio": each["loop"] / each["stack"]}
    return figures


def _functions(shape: Architecture, extent: StackExtent) -> dict[str, dict[str, Run]]:
    """Return the runs of a stack and of a loop, for each function."""
    lams, seeds = np.linspace(-4.0, 4.0, extent.lams), range(extent.seeds)

    def draw() -> Networks:
        return cast(Networks, balanced_init(shape, lams, seed=seeds))

    tasks, nets = random_regression(shape, max(10, shape.n_i), seed=seeds), draw()
    solvers: dict[str, Callable[..., Any]] = {
        "exact, loss and kernel distance": lambda task, net: exact(task, net, TIMES, BY_KERNEL),
        "exact, all observables": lambda task, net: exact(task, net, TIMES),
        "flow": lambda task, net: flow(task, net, TIMES, observables=BY_KERNEL),
        "gradient descent": lambda task, net: gradient_descent(task, net, RATE, STEPS, EVERY, BY_KERNEL),
    }
    few = [np.unravel_index(number, nets.shape) for number in range(min(extent.alone, nets.size))]
    alone = [(tasks[int(seed)], nets[int(seed), int(lam)]) for seed, lam in few]

    def loop(solve: Callable[..., Any]) -> None:
        for task, net in alone:
            solve(task, net)

    def draw_alone() -> None:
        for seed, lam in few:
            balanced_init(shape, float(lams[lam]), seed=int(seed))

    runs = {"balanced_init": {"stack": Run(draw, nets.size), "loop": Run(draw_alone, len(few))}}
    for name, solve in solvers.items():
        runs[name] = {
            "stack": Run(partial(solve, tasks, nets), nets.size),
            "loop": Run(partial(loop, solve), len(few)),
        }
    return runs
