"""A block: some seeds of one architecture and init_scale, with some lam and all times. The unit of work."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin import kernels
from fastlin.architecture import Architecture
from fastlin.kernels import Status
from fastlin.observables import REGISTRY


@dataclass(frozen=True, eq=False)
class Block:
    """All that is needed to compute the points (seed, lam) of one architecture, init_scale and method."""

    architecture: Architecture
    init_scale: float
    method: str
    learning_rate: float
    seeds: NDArray[np.int64]
    lams: NDArray[np.float64]
    times: NDArray[np.float64]
    n_samples: int
    target_scale: float
    init_kind: str
    observables: tuple[str, ...]
    dtype: str


class Result(NamedTuple):
    """Values of a block: one array (S, L, T) or (S, L, T, rows) per observable, and status (S, L)."""

    values: dict[str, NDArray[Any]]
    status: NDArray[np.uint8]


def recorded_steps(times: NDArray[np.float64], learning_rate: float) -> NDArray[np.int64]:
    """Return the whole steps of gradient descent that are nearest to `times`."""
    return np.rint(times / learning_rate).astype(np.int64)


def compute(block: Block) -> Result:
    """Compute one block. The bits of a point depend on its values and on all times, and on nothing else."""
    shape = block.architecture
    rows = [row for name in block.observables for row in REGISTRY[name].rows]
    codes = np.array(rows, dtype=np.int64)
    # Arrays that came over the wire may be read-only, which would compile the kernel a second time.
    seeds, lams = np.array(block.seeds), np.array(block.lams)
    order = np.argsort(block.times)  # a time axis that has grown is not stored in order
    times = block.times[order]
    points = seeds.size * lams.size
    out = np.empty((codes.size, kernels.padded(points), times.size))
    status = np.empty(kernels.padded(points), dtype=np.uint8)
    records = kernels.draw_records(
        shape, seeds, block.n_samples, block.target_scale, block.init_kind, block.init_scale
    )
    if block.method == "exact":
        kernels.closed_form(shape, records, lams, times, codes, out, status)
    else:
        steps = recorded_steps(times, block.learning_rate)
        kernels.gradient_descent(shape, records, lams, block.learning_rate, steps, codes, out, status)
    out, status = out[:, :points], status[:points]
    if (np.diff(order) < 0).any():
        out = out[..., np.argsort(order)]
    if block.dtype != "float64":
        with np.errstate(over="ignore"):  # what does not fit float32 is inf, and the point has failed
            out = out.astype(block.dtype)
        lost = ~np.isfinite(out).all(axis=(0, 2))
        status[lost & (status == Status.OK)] = Status.FAILED
    grid = (seeds.size, lams.size)
    return Result(_by_observable(block.observables, out.reshape(-1, *grid, times.size)), status.reshape(grid))


def _by_observable(
    names: tuple[str, ...], out: NDArray[np.floating[Any]]
) -> dict[str, NDArray[np.floating[Any]]]:
    """Split out (R, S, L, T) into the layout of the store: (S, L, T), and a last axis for layers."""
    values, first = {}, 0
    for name in names:
        count = len(REGISTRY[name].rows)
        values[name] = np.moveaxis(out[first : first + count], 0, -1) if REGISTRY[name].dims else out[first]
        first += count
    return values
