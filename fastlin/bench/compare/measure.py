"""The figures of the comparison: speed, files, a kill, growth and a failed point."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fastlin.bench.compare import process
from fastlin.bench.compare.grid import Array, Grid
from fastlin.bench.compare.probe import Orders
from fastlin.bench.compare.process import Step
from fastlin.bench.compare.tools import REFERENCE, TOOLS
from fastlin.bench.timing import Note
from fastlin.errors import InputError, StoppedError

AGREEMENT = 1e-9  # of loss and kernel distance between tools
ARCHITECTURES = ("2-2-4", "4-2-4", "4-4-4", "6-2-6", "8-4-8", "4-8-4", "16-4-16", "8-8-8")
SWEEP = Grid(ARCHITECTURES, range(40), 33)


@dataclass(frozen=True)
class Extent:
    """The sweep of the comparison.

    Parameters
    ----------
    grid : Grid
        The sweep that every tool runs.
    more : int
        Number of seeds that are added.
    few : int
        Number of seeds of the sweep in which a point fails.
    times : int
        fastlin also runs the sweep with so many times the seeds.
    """

    grid: Grid = SWEEP
    more: int = 10
    few: int = 10
    times: int = 100


def missing() -> list[str]:
    """Return the libraries of tools that are not installed."""
    needed = {library for tool in TOOLS.values() for library in tool.libraries}
    return sorted(library for library in needed if find_spec(library) is None)


def measure_compare(extent: Extent, note: Note, tools: Sequence[str] = tuple(TOOLS)) -> dict[str, Any]:
    """Return the figures of every tool whose library is installed.

    The keys of a row are those of `_speed`, `_kill`, `_growth` and `_failure`, with the name and version of
    its library. ``large`` is the row of fastlin with more seeds.

    Raises
    ------
    InputError
        On Windows, which has no process groups that can be killed.
    """
    if not hasattr(os, "killpg"):
        raise InputError("the section compare kills process groups, which this system does not have")
    absent = missing()
    with tempfile.TemporaryDirectory(prefix="fastlin-bench-") as made:
        folder = Path(made)
        note("compare: reference")
        grown = extent.grid.grown(_more(extent))
        reference = _reference(grown, folder / "reference")
        rows = {
            name: _tool(name, extent, reference, folder / str(number), note)
            for number, name in enumerate(tools)
            if not {*TOOLS[name].libraries} & {*absent}
        }
        note(f"compare: {REFERENCE}, {extent.times} times the seeds")
        large = replace(extent.grid, seeds=range(extent.times * len(extent.grid.seeds)))
        return {
            "points": extent.grid.points,
            "added": grown.points - extent.grid.points,
            "agreement": AGREEMENT,
            "missing": absent,
            "rows": rows,
            "large": {"points": large.points, "times": extent.times}
            | _speed(REFERENCE, large, folder / "large"),
        }


def _more(extent: Extent) -> range:
    stop = extent.grid.seeds.stop
    return range(stop, stop + extent.more)


def _reference(grid: Grid, folder: Path) -> Array:
    """Return the results of fastlin. This also compiles the kernels, whose time does not count for a tool."""
    folder.mkdir()
    process.do(Step(REFERENCE, "run", grid, folder))
    stacks = folder / "stacks"
    stacks.mkdir()
    process.do(Step("loop of `fl.exact`", "run", replace(grid, seeds=range(2)), stacks))
    return TOOLS[REFERENCE].read(grid, folder)


def _tool(name: str, extent: Extent, reference: Array, folder: Path, note: Note) -> dict[str, Any]:
    folder.mkdir()
    tool = TOOLS[name]
    row: dict[str, Any] = {
        "library": tool.libraries[0],
        "version": version(tool.libraries[0]),
        "call": tool.call,
        "cores": tool.cores,
    }
    grid, few = extent.grid, replace(extent.grid, seeds=range(extent.few))
    note(f"compare: {name}")
    row |= _speed(name, grid, folder / "speed")
    found = tool.read(grid, folder / "speed")
    row["difference"] = float(np.abs(found - reference[:, : len(grid.seeds)]).max())
    note(f"compare: {name}, more seeds")
    row["growth"] = _growth(name, extent, reference, folder)
    note(f"compare: {name}, killed")
    row["kill"] = _kill(name, grid, reference[:, : len(grid.seeds)], folder)
    note(f"compare: {name}, a failed point")
    row["failure"] = _failure(name, few, reference[:, : extent.few], folder)
    return row


def _speed(name: str, grid: Grid, folder: Path) -> dict[str, Any]:
    """Return the seconds of a whole process that runs the sweep, and the files and bytes that it leaves."""
    folder.mkdir()
    seconds = process.do(Step(name, "run", grid, folder)).seconds
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        "seconds": seconds,
        "points_per_second": grid.points / seconds,
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
    }


def _growth(name: str, extent: Extent, reference: Array, folder: Path) -> dict[str, Any]:
    """Add seeds to a complete sweep. Return how many points were ``computed``."""
    grid, orders = extent.grid, Orders(str(folder / "growth.log"))
    grown = grid.grown(_more(extent))
    process.do(Step(name, "grow", grid, folder / "speed", _more(extent)), orders)
    _check(name, grown, folder / "speed", reference)
    return {"computed": orders.total()}


def _kill(name: str, grid: Grid, reference: Array, folder: Path) -> dict[str, Any]:
    """Kill a run half-way, look at its folder, and run it again.

    ``before`` points were computed until the kill, which left ``files``, of which ``torn`` had to be removed.
    ``right`` points are read from the folder then, and ``wrong`` are numbers there that are no results.
    ``again`` points are computed by both runs.
    """
    store = folder / "kill"
    store.mkdir()
    first = Orders(str(folder / "first.log"), kill_at=grid.points // 2)
    second = Orders(str(folder / "second.log"))
    step = Step(name, "run", grid, store)
    process.start(step, first)
    files = sum(path.is_file() for path in store.rglob("*"))
    torn = TOOLS[name].repair(grid, store)
    found = TOOLS[name].read(grid, store)
    right = _right(found, reference)
    process.do(step, second)
    _check(name, grid, store, reference)
    return {
        "before": first.total(),
        "files": files,
        "torn": torn,
        "right": right,
        "wrong": int(np.isfinite(found).all(axis=(-2, -1)).sum()) - right,
        "again": first.total() + second.total() - grid.points,
    }


def _failure(name: str, grid: Grid, reference: Array, folder: Path) -> dict[str, Any]:
    """Let one point fail, and mend it.

    ``code`` is that of the run, ``lost`` are the other points without a result, ``named`` are points that the
    folder lists as failed. ``computed`` is the number of points that a run without the failure computed.
    """
    store = folder / "failure"
    store.mkdir()
    middle = (grid.architectures[len(grid.architectures) // 2], grid.seeds[len(grid.seeds) // 2])
    failing = Orders(str(folder / "failing.log"), failing=(*middle, float(grid.lams[grid.lam_count // 2])))
    mending = Orders(str(folder / "mending.log"))
    step = Step(name, "run", grid, store)
    code = process.start(step, failing).code
    lost = grid.points - 1 - _right(TOOLS[name].read(grid, store), reference)
    named = TOOLS[name].failures(store)
    process.do(replace(step, verb="mend"), mending)
    _check(name, grid, store, reference)
    return {
        "points": grid.points,
        "code": code,
        "lost": lost,
        "named": named,
        "computed": mending.total(),
    }


def _check(name: str, grid: Grid, folder: Path, reference: Array) -> None:
    """Raise a `StoppedError` unless a tool has the result of every point."""
    right = _right(TOOLS[name].read(grid, folder), reference)
    if right < grid.points:
        raise StoppedError(f"compare: {name} has {right} of {grid.points} results in the end")


def _right(found: Array, reference: Array) -> int:
    """Return the number of points whose results are those of the reference."""
    return int((np.abs(found - reference) <= AGREEMENT).all(axis=(-2, -1)).sum())
