"""What a sweep will take on this machine: its plan, with times from a short measurement of its kernels."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from fastlin.sweeps import places
from fastlin.sweeps.block import Group, compute
from fastlin.sweeps.costs import seed_seconds
from fastlin.sweeps.engines import Engine, Processes, Threads, blocks_at_once, local_threads
from fastlin.sweeps.folding import folded
from fastlin.sweeps.plan import Plan, readable_size
from fastlin.sweeps.spec import Spec

SAMPLES = 6  # architectures that are measured, for each method; the others by their operations
SAMPLE_SECONDS = 0.3  # that each should take
BLOCK_OVERHEAD = 2e-3  # seconds that a core spends on a block besides computing and writing it
# Seconds to start and end a client, with threads and with processes, and memory of a worker process.
CLIENT_SECONDS = {Threads: 0.4, Processes: 2.5}
PROCESS_BYTES = 230_000_000


def projection(spec: Spec, workers: int | None, start_up: float = 0.0) -> dict[str, Any]:
    """Return what a sweep takes with so many processes, or threads on all cores: JSON-ready.

    Parameters
    ----------
    spec : Spec
    workers : int or None
        Processes; more than this machine has cores are taken for as many cores like these.
    start_up : float
        Seconds that a command takes before it runs anything.

    Returns
    -------
    dict
        ``seconds`` of the whole command, with kernels compiled already, and ``memory_bytes`` of all its
        processes on this machine; ``bytes`` and ``files`` of the store.
    """
    base_bytes = psutil.Process().memory_info().rss
    plan, layout = Plan.of(spec), Plan.of(spec).layout
    engine: Engine = Threads() if workers is None else Processes(workers)
    cores = local_threads() if workers is None else workers
    work = _work_seconds(plan, min(cores, local_threads())) + layout.block_count * BLOCK_OVERHEAD
    at_once = min(blocks_at_once(engine) or cores, layout.block_count)
    processes = 0 if workers is None else workers
    return {
        "name": spec.name,
        "points": spec.points,
        "times": int(spec.times.size),
        "axes": spec.point_dims,
        "blocks": layout.block_count,
        "seeds_per_block": layout.block_shape.seeds,
        "groups_per_block": math.prod(layout.status.chunk[:-2]),
        "bytes": plan.bytes,
        "files": plan.files,
        "memory_bytes": base_bytes + processes * PROCESS_BYTES + plan.block_memory * at_once,
        "workers": cores,
        "seconds": start_up + CLIENT_SECONDS[type(engine)] + work / min(cores, layout.block_count),
        "spec": spec.to_dict(),
    }


def _work_seconds(plan: Plan, cores: int) -> float:
    """Return the time of all blocks, summed over cores that all are busy."""
    spec = plan.spec
    modelled, total = seed_seconds(spec), 0.0
    count = len(spec.architectures)
    chosen = np.linspace(0, count - 1, min(SAMPLES, count)).astype(int)
    with threadpool_limits(limits=1, user_api="blas"):
        for at, method in enumerate(spec.methods):
            seconds = modelled[:, at, 0]
            measured = [_measure(plan, method, int(index), float(seconds[index]), cores) for index in chosen]
            factors = np.full(count, np.median(measured / seconds[chosen]))
            factors[chosen] = measured / seconds[chosen]
            total += float((factors[:, None] * modelled[:, at]).sum())
    return total * spec.init_scales.size * spec.seeds.size


def _measure(plan: Plan, method: str, architecture: int, modelled: float, cores: int) -> float:
    """Return the seconds that a core takes for all lam of one seed, as groups of this plan are computed."""
    spec = plan.spec
    seeds = max(1, min(int(SAMPLE_SECONDS / modelled), plan.layout.block_shape.seeds))
    # Of a seed that takes long, a few lam tell what all take.
    lams = (
        spec.lams
        if modelled < SAMPLE_SECONDS
        else spec.lams[: max(1, int(spec.lams.size * SAMPLE_SECONDS / modelled))]
    )
    at = {"architecture": architecture, "method": spec.methods.index(method)}
    position = [at.get(name, 0) for name in plan.layout.dims]
    index, within = zip(*map(divmod, position, plan.layout.status.chunk), strict=True)
    group = plan.layout.group(index, within[:-2])
    group = replace(group, seeds=group.seeds[:seeds], lams=lams)
    with tempfile.TemporaryDirectory(prefix="fastlin-plan-") as folder:
        place = places.of(folder)
        _unit(plan, replace(group, seeds=group.seeds[:1]), place)(0)  # compiles, if need be
        unit = _unit(plan, group, place)
        start = time.perf_counter()
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(unit, range(1, cores + 1)))
        seconds = time.perf_counter() - start
    return seconds / group.seeds.size * spec.lams.size / lams.size


def _unit(plan: Plan, group: Group, place: places.Place) -> Callable[[int], None]:
    """Return what computes and writes a group, as a worker does."""
    reduce = plan.spec.reduce

    def run(number: int) -> None:
        if reduce:
            folded(group, reduce, compute)
            return
        for name, values in compute(group).values.items():
            place.write(f"{name}/{number}", np.ascontiguousarray(values))

    return run


def in_words(content: dict[str, Any]) -> str:
    """Return a projection for people to read."""
    groups = "" if content["groups_per_block"] == 1 else f"{content['groups_per_block']:,} groups of "
    dims = " x ".join(f"{size} {name}" for name, size in content["axes"].items())
    return (
        f"{content['name']}: {content['points']:,} points ({dims}), each at {content['times']} times\n"
        f"blocks: {content['blocks']:,} of {groups}{content['seeds_per_block']} seeds\n"
        f"store: {readable_size(content['bytes'])} in {content['files']:,} files\n"
        f"memory: {readable_size(content['memory_bytes'])} with {content['workers']} cores\n"
        f"time: about {content['seconds']:.2g} s on {content['workers']} cores like these"
    )
