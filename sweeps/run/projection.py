"""Projection of a sweep on this machine: its plan, with times from a short measurement of its kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from heapq import heapreplace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from fastlin.formatting import format_bytes, format_duration
from fastlin.kernels.compilation import missing, seconds_to_compile
from fastlin.solvers import FLOW
from fastlin.sweeps.run.calibration import measure
from fastlin.sweeps.run.executors import Executor, Processes, Threads, blocks_at_once, local_threads
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.prepare import layout_for
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.costs import kernels_needed
from fastlin.sweeps.store.counts import count_points
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.store import Store, begins_again, is_new

BLOCK_OVERHEAD = 2e-3  # seconds that a core spends on a block besides computing and writing it
# Seconds to start and end a client, with threads and with processes, and memory of a worker process.
CLIENT_SECONDS = {Threads: 0.3, Processes: 2.8}
PROCESS_BYTES = 230_000_000


@dataclass(frozen=True)
class Projection:
    """Resources that a sweep takes on this machine. Its text is that of ``fastlin plan``.

    Attributes
    ----------
    name : str
        Name of the spec.
    points : int
        Number of configurations.
    times : int
        Number of times at which each point is recorded.
    axes : dict
        Sizes of the axes of the grid, by name.
    blocks : int
        Number of blocks.
    seeds_per_block, groups_per_block : int
        Seeds of a block, and how many groups (combinations of the other axes) it holds.
    rows_per_block : int
        Rows of a table of points in a block; 0 for a product.
    bytes, files : int
        Size of the complete store in a folder, estimated where it is compressed, and the number of its files.
        Metadata, coordinates and the lease count.
    memory_bytes : int
        Memory of all processes on this machine.
    workers : int
        Cores that compute.
    kernels, kernels_to_compile : int
        Kernels that the sweep needs, and those of them that are not in the cache.
    compile_seconds : float
        Seconds to compile these.
    seconds : float
        Seconds of the whole run, with `compile_seconds`.
    spec : dict
        The spec with every default filled in.
    white : bool
        Whether the inputs of all tasks are whitened. Otherwise the solver is "flow" by default.
    store : str or None
        The store that was given.
    pending_points, pending_blocks : int
        Those that the store lacks: all without a store.
    """

    name: str
    points: int
    times: int
    axes: dict[str, int]
    blocks: int
    seeds_per_block: int
    groups_per_block: int
    rows_per_block: int
    bytes: int
    files: int
    memory_bytes: int
    workers: int
    kernels: int
    kernels_to_compile: int
    compile_seconds: float
    seconds: float
    spec: dict[str, Any]
    white: bool
    store: str | None
    pending_points: int
    pending_blocks: int

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name, JSON-ready, as ``fastlin plan --json`` prints them."""
        return asdict(self)

    @property
    def _solver(self) -> str:
        """A line that says why points are integrated, if inputs that are not whitened are the reason."""
        flow = not self.white and self.spec["dynamics"]["solver"] == FLOW.name
        return "solver: flow, because the inputs of the task are not whitened\n" if flow else ""

    def __str__(self) -> str:
        groups = "" if self.groups_per_block == 1 else f"{self.groups_per_block:,} groups of "
        groups = f"{self.rows_per_block:,} rows of " if self.rows_per_block else groups
        estimated = "about " if "reduce" in self.spec["output"] else ""  # statistics are compressed
        dims = " x ".join(f"{size} {name}" for name, size in self.axes.items())
        if self.rows_per_block:
            dims = f"a table; {dims}"
        return (
            f"{self.name}: {self.points:,} points ({dims}), each at {self.times} times\n"
            f"{self._solver}"
            f"blocks: {self.blocks:,}, each of {groups}{self.seeds_per_block:,} seeds\n"
            f"{self._pending}"
            f"store: {estimated}{format_bytes(self.bytes)} in {self.files:,} files\n"
            f"memory: {format_bytes(self.memory_bytes)} with {self.workers} cores\n"
            f"kernels: {self._compilation}\n"
            f"time: about {format_duration(self.seconds)} on {self.workers} cores like these"
        )

    @property
    def _pending(self) -> str:
        """A line about the points that a store lacks, if one was given."""
        if self.store is None:
            return ""
        points, blocks = f"{self.pending_points:,} points", f"{self.pending_blocks:,} blocks"
        return f"to compute: {points} in {blocks} of {self.store}\n"

    @property
    def _compilation(self) -> str:
        if not self.kernels:
            return "none to compile before the first block"
        if not self.kernels_to_compile:
            return f"{self.kernels}, of which all are compiled"
        left, duration = self.kernels_to_compile, format_duration(self.compile_seconds)
        return (
            f"{self.kernels}, of which {left} are still to be compiled, in about {duration} of the time below"
        )


def plan(
    spec: Spec | Mapping[str, Any] | str | Path,
    path: str | Path | None = None,
    *,
    workers: int | None = None,
    points: Any = None,
    task: Any = None,
    init: Any = None,
) -> Projection:
    """Return the resources of a sweep on this machine: points, blocks, bytes, files, memory and time.

    Nothing is written, except that kernels compiled for the measurement are kept in the cache. It takes a
    few seconds.

    Parameters
    ----------
    spec : Spec, mapping, str or Path
        A spec, its content, a TOML file, or the name of a preset.
    path : str or Path, optional
        A store. The time and the memory are those of the points that it lacks, and the bytes those of the
        store once it has them. Nothing is written there.
    workers : int, optional
        Plan for this number of processes. Those beyond the cores of this machine are taken for equal cores
        elsewhere. By default threads on all cores.
    points, task, init : optional
        A table of points, own data and own weights, as for `run_sweep`.

    Returns
    -------
    Projection
        Its fields are the keys of ``fastlin plan --json``.

    Raises
    ------
    InputError
        If the spec is not valid, or the store was made from a spec that does not grow to it.

    Examples
    --------
    >>> projection = fl.plan("rich-lazy")
    >>> projection.points, projection.axes["lam"]
    (72400, 181)
    """
    return project(Spec.read(spec, points, task, init), workers, path)


def project(
    spec: Spec, workers: int | None, path: str | Path | None = None, start_up: float = 0.0
) -> Projection:
    """Return the projection of a sweep whose command takes `start_up` seconds before it runs anything."""
    base_bytes = psutil.Process().memory_info().rss
    resources, pending = _pending(spec, path)
    layout, todo = resources.layout, np.flatnonzero(pending.shares)
    executor: Executor = Threads() if workers is None else Processes(workers)
    cores = local_threads() if workers is None else workers
    needed = kernels_needed(layout, todo) if todo.size else []
    lacking, compile_seconds, seconds = missing(needed), 0.0, start_up
    if todo.size:
        speed, lacking = measure(resources, lacking, min(cores, local_threads()))
        compile_seconds = speed.compile * seconds_to_compile(lacking, local_threads())
        work = (speed.of_blocks(resources).ravel() * pending.shares + BLOCK_OVERHEAD)[todo]
        seconds += CLIENT_SECONDS[type(executor)] + compile_seconds + _makespan(work, cores)
    at_once = min(blocks_at_once(executor) or cores, todo.size)
    processes = 0 if workers is None else workers
    return Projection(
        name=spec.name,
        points=spec.points,
        times=int(spec.times.size),
        axes=spec.point_dims,
        blocks=layout.block_count,
        seeds_per_block=layout.block_shape.seeds,
        groups_per_block=math.prod(layout.status.chunk[:-2]),
        rows_per_block=layout.status.chunk[-1] if spec.table else 0,
        bytes=resources.bytes,
        files=resources.files,
        memory_bytes=base_bytes + processes * PROCESS_BYTES + resources.block_memory * at_once,
        workers=cores,
        kernels=len(needed),
        kernels_to_compile=len(lacking),
        compile_seconds=compile_seconds,
        seconds=seconds,
        spec=spec.to_dict(),
        white=spec.white,
        store=None if path is None else str(path),
        pending_points=pending.points,
        pending_blocks=int(todo.size),
    )


class _Pending(NamedTuple):
    """Points that a run has to compute."""

    points: int
    shares: NDArray[np.float64]  # of the time of each block, by its number


def _pending(spec: Spec, path: str | Path | None) -> tuple[Plan, _Pending]:
    """Return the plan of a sweep, and what a store lacks of it: all where there is none yet."""
    location = None if path is None else locate(path)
    opened = None if location is None or is_new(location) else Store.open(location)
    resources = Plan.of(spec) if opened is None else Plan(layout_for(opened, spec))
    if opened is None or begins_again(opened.layout, spec):
        return resources, _Pending(spec.points, np.ones(resources.layout.block_count))
    counts = count_points(replace(opened, layout=resources.layout))
    whole = resources.seconds_of_blocks.ravel()
    shares = np.divide(counts.pending_seconds, whole, out=np.ones_like(whole), where=whole > 0.0)
    return resources, _Pending(counts.pending, np.where(counts.complete, 0.0, shares))


def _makespan(seconds: NDArray[np.float64], cores: int) -> float:
    """Return the time at which the last block is done. Each block goes to the first core that is free."""
    free = [0.0] * min(cores, seconds.size)
    for each in seconds.ravel():
        heapreplace(free, free[0] + float(each))
    return max(free)
