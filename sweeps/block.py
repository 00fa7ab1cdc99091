"""A block: some seeds of one architecture and init_scale, with some lam and all times. The unit of work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin import kernels
from fastlin.architecture import Architecture
from fastlin.kernels import Status, dispatch, empty_batch
from fastlin.observables import REGISTRY

Array = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
Codes = NDArray[np.uint8]


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
    fraction: float
    dtype: str


class Result(NamedTuple):
    """Values of a block and status (S, L).

    One array per observable: (S, L, T), or (S, L, T, rows), or (S, L) of a time scale.
    """

    values: dict[str, NDArray[Any]]
    status: NDArray[np.uint8]


def recorded_steps(times: NDArray[np.float64], learning_rate: float) -> NDArray[np.int64]:
    """Return the whole steps of gradient descent that are nearest to `times`."""
    return np.rint(times / learning_rate).astype(np.int64)


def compute(block: Block) -> Result:
    """Compute one block. The bits of a point depend on its values and on all times, and on nothing else."""
    # Arrays that came over the wire may be read-only, which would compile the kernel a second time.
    seeds, lams = np.array(block.seeds), np.array(block.lams)
    records = kernels.draw_records(
        block.architecture.sizes,
        seeds,
        block.n_samples,
        block.target_scale,
        block.init_kind,
        block.init_scale,
    )
    values, status = _over_time(block, records, lams)
    scales, health = _time_scales(block, records, lams)
    grid = (seeds.size, lams.size)
    found = {name: part.reshape(*grid, *part.shape[1:]) for name, part in (values | scales).items()}
    return Result({name: found[name] for name in block.observables}, np.maximum(status, health).reshape(grid))


def _over_time(block: Block, records: Array, lams: Array) -> tuple[dict[str, Floats], Codes]:
    """Return what is observed along trajectories, (P, T) or (P, T, rows), and status (P,)."""
    names = [name for name in block.observables if REGISTRY[name].scale is None]
    codes = tuple(int(output) for name in names for output in REGISTRY[name].outputs)
    points = len(records) * lams.size
    if not names:
        return {}, np.full(points, Status.OK, dtype=np.uint8)
    order = np.argsort(block.times)  # a time axis that has grown is not stored in order
    times = block.times[order]
    if block.method == "exact":
        batch = empty_batch(records, lams, times, len(codes))
        dispatch.closed_form(block.architecture.sizes, codes, batch)
    else:
        batch = empty_batch(records, lams, recorded_steps(times, block.learning_rate), len(codes))
        dispatch.gradient_descent(block.architecture.sizes, codes, batch, block.learning_rate)
    out, status = batch.outputs[:, :points], batch.status[:points]
    if (np.diff(order) < 0).any():
        out = out[..., np.argsort(order)]
    if block.dtype != "float64":
        with np.errstate(over="ignore"):  # what does not fit float32 is inf, and the point has failed
            out = out.astype(block.dtype)
        lost = ~np.isfinite(out).all(axis=(0, 2))
        status[lost & (status == Status.OK)] = Status.FAILED
    return _by_observable(names, out), status


def _time_scales(block: Block, records: Array, lams: Array) -> tuple[dict[str, Floats], Codes]:
    """Return the time scales of the points, (P,), and status (P,); inf is a value."""
    names = [name for name in block.observables if REGISTRY[name].scale is not None]
    points = len(records) * lams.size
    if not names:
        return {}, np.full(points, Status.OK, dtype=np.uint8)
    codes = tuple(int(scale) for name in names if (scale := REGISTRY[name].scale) is not None)
    batch = empty_batch(records, lams, np.empty(0), len(codes))
    dispatch.time_scales(block.architecture.sizes, codes, batch, block.fraction)
    out, status = batch.outputs[:, :points, 0], batch.status[:points]
    with np.errstate(over="ignore"):
        found = out.astype(block.dtype)
    status[(np.isinf(found) & np.isfinite(out)).any(axis=0)] = Status.FAILED
    return dict(zip(names, found, strict=True)), status


def _by_observable(names: Sequence[str], out: Floats) -> dict[str, Floats]:
    """Split out (R, P, T) by observables: (P, T), and a last axis for layers."""
    values, first = {}, 0
    for name in names:
        count = len(REGISTRY[name].outputs)
        values[name] = np.moveaxis(out[first : first + count], 0, -1) if REGISTRY[name].dims else out[first]
        first += count
    return values
