"""The cost of the flow from raw weights: beside SciPy and diffrax, and against the steps that networks need.

Starts are those of LeCun, W1 ~ N(0, 1 / N_i) and W2 ~ N(0, 1 / N_h). Targets Sigma_yx are N(0, 3 / (10 N_o)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from fastlin.bench.case import OUTPUTS
from fastlin.bench.flow_rivals import diffrax_flow, scipy_flow
from fastlin.bench.rivals import Jax, Networks
from fastlin.bench.timing import Note, Run, alternate, lengthened
from fastlin.kernels import Sizes, dispatch, empty_batch
from fastlin.kernels.batch import FlowControl
from fastlin.kernels.codes import Start
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.sizes import Record
from fastlin.kernels.vector.flow import Lanes

Shape = tuple[int, int, int]

SHAPES = ((4, 2, 4), (8, 4, 8), (16, 4, 16))
SWEEPS = {(4, 2, 4): (16, 256, 4096), (8, 4, 8): (64, 1024), (16, 4, 16): (256,)}  # networks of each sweep
LIMIT = 1.15  # upper bound of the steps of a vector over the mean steps of its networks, in a large sweep
TIME, TOLERANCE = 90.0, 1e-9
AGREEMENT = 1e-7  # upper bound of the difference of results, of which each has an error near the tolerance

_CONTROL = FlowControl(TOLERANCE, max_steps=100_000)


@dataclass(frozen=True)
class FlowExtent:
    """The number of networks that each program integrates, and of rounds."""

    networks: int = 1024
    alone: int = 16  # networks that SciPy takes, one at a time
    stack: int = 256  # networks that diffrax takes at a time
    rounds: int = 3


def lecun_networks(shape: Shape, count: int) -> Networks:
    """Return networks with the starts and the targets of this module. Their loss has no floor."""
    n_i, n_h, n_o = shape
    random = np.random.default_rng(0)
    return Networks(
        sigma=random.normal(0.0, np.sqrt(3.0 / (10.0 * n_o)), (count, n_o, n_i)),
        lam=np.full(count, np.nan),
        floor=np.zeros(count),
        w1=random.normal(0.0, np.sqrt(1.0 / n_i), (count, n_h, n_i)),
        w2=random.normal(0.0, np.sqrt(1.0 / n_h), (count, n_o, n_h)),
    )


def raw_records(sizes: Sizes, networks: Networks) -> Array:
    """Return the records (B, length) of networks with N_h <= N_i + N_o: their weights in the SVD basis."""
    record = Record(sizes.unreduced)
    left, s, right = np.linalg.svd(networks.sigma)
    records = np.zeros((len(s), record.length))
    records[:, : record.p] = s
    records[:, record.floor] = networks.floor
    inputs = right @ networks.w1.swapaxes(1, 2)
    records[:, record.v : record.u] = inputs.reshape(len(s), -1)
    records[:, record.u :] = (left.swapaxes(1, 2) @ networks.w2).reshape(len(s), -1)
    return records


class FlowCase:
    """Raw networks of one architecture. A run integrates all of them to `TIME`."""

    def __init__(self, shape: Shape, networks: Networks) -> None:
        sizes = Sizes(*shape)
        self.count = len(networks.w1)
        # Raw weights have no lam, so each seed is one point.
        self._batch = empty_batch(raw_records(sizes, networks), np.zeros(1), np.array([TIME]), len(OUTPUTS))
        self._call = dispatch.prepare_flow(
            sizes, OUTPUTS, self._batch, _CONTROL, start=Start.RAW, specialise=True
        )

    def run(self) -> None:
        """Integrate all networks."""
        self._call()

    @property
    def results(self) -> Array:
        """Loss and kernel distance (B, 2) after the last run."""
        outputs: Array = self._batch.outputs[:, : self.count, 0]
        return outputs.T

    @property
    def steps(self) -> Integers:
        """Accepted steps (B,) of each network in the last run."""
        steps: Integers = self._call.arguments[-1]
        return steps

    def rounds(self) -> int:
        """Run once, and return the steps of the vector, in each of which it may move eight networks."""
        lanes = next(each for each in self._call.arguments if isinstance(each, Lanes))
        lanes.rounds[0] = 0
        self.run()
        return int(lanes.rounds[0])


def measure_flow(
    shapes: Sequence[Shape], extent: FlowExtent, against: Sequence[str], note: Note
) -> dict[str, Any]:
    """Return the us and the steps of a network, the speed over that of rivals, and the difference of results.

    "numpy" in `against` stands for SciPy with a derivative in NumPy, and "jax" for diffrax on one core.
    ``difference`` is the largest one between fastlin and a rival, in loss and kernel distance at `TIME`.
    """
    installed = find_spec("diffrax") is not None
    opponents = {*against} if installed else {*against} - {"jax"}
    rows = {}
    for shape in shapes:
        name = "-".join(map(str, shape))
        note(f"flow {name}")
        rows[name] = _against_rivals(shape, extent, opponents)
    return {
        "time": TIME,
        "tolerance": TOLERANCE,
        "agreement": AGREEMENT,
        "diffrax_installed": installed,
        "rows": rows,
    }


def _against_rivals(shape: Shape, extent: FlowExtent, against: set[str]) -> dict[str, Any]:
    networks = lecun_networks(shape, extent.networks)
    case = FlowCase(shape, networks)
    few, stack = (networks.part(slice(count)) for count in (extent.alone, extent.stack))
    results: dict[str, Array] = {}  # of rivals, from their last runs
    with Jax(1) if "jax" in against else nullcontext() as jax:

        def run_scipy() -> None:
            alone = (few.part(index) for index in range(len(few.w1)))
            results["scipy"] = np.array([scipy_flow(each, TIME, TOLERANCE) for each in alone])

        def run_diffrax(jax: Jax) -> None:
            results["diffrax"] = diffrax_flow(jax, stack, TIME, TOLERANCE)

        runs = {"fastlin": lengthened(case.run, case.count)}
        if "numpy" in against:
            runs["scipy"] = Run(run_scipy, len(few.w1))
        if jax is not None:
            runs["diffrax"] = Run(partial(run_diffrax, jax), len(stack.w1))
        seconds = alternate(runs, extent.rounds)
    differences = [np.abs(result - case.results[: len(result)]).max() for result in results.values()]
    ours = seconds["fastlin"]
    return {
        "us": 1e6 * ours,
        "mean_steps": float(case.steps.mean()),
        "vs_scipy": seconds["scipy"] / ours if "scipy" in seconds else None,
        "vs_diffrax": seconds["diffrax"] / ours if "diffrax" in seconds else None,
        "difference": float(max(differences)) if differences else None,
    }


def measure_filling(counts: Mapping[Shape, Sequence[int]], rounds: int, note: Note) -> dict[str, Any]:
    """Return the cost of sweeps of some numbers of networks, over that of the mean steps of the networks.

    ``rounds`` are the steps of the vector times eight, over the accepted steps of all networks; repeated
    steps count as lost. ``time`` is the time per accepted step, over that of as many networks that are all
    alike. ``unfilled`` is the ratio of the steps if each vector waited for the slowest of its eight networks.
    """
    figures: dict[str, Any] = {}
    for shape, sweeps in counts.items():
        for count in sweeps:
            name = f"{'-'.join(map(str, shape))}, {count:,} networks"
            note(f"filling of lanes, {name}")
            figures[name] = _filling(shape, count, rounds)
    return figures


def _filling(shape: Shape, count: int, rounds: int) -> dict[str, float]:
    networks = lecun_networks(shape, count)
    case = FlowCase(shape, networks)
    vector_steps = case.rounds()
    steps = case.steps.copy()
    median = np.argsort(steps)[count // 2]
    alike = FlowCase(shape, networks.part(np.full(count, median)))
    runs = {
        "drawn": lengthened(case.run, float(steps.sum())),
        "alike": lengthened(alike.run, float(steps[median] * count)),
    }
    seconds = alternate(runs, rounds)
    vectors = np.pad(steps, (0, -count % WIDTH)).reshape(-1, WIDTH)
    return {
        "mean_steps": float(steps.mean()),
        "most_steps": int(steps.max()),
        "unfilled": float(WIDTH * vectors.max(axis=1).sum() / steps.sum()),
        "rounds": float(WIDTH * vector_steps / steps.sum()),
        "time": seconds["drawn"] / seconds["alike"],
    }
