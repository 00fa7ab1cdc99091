"""Sweeps over many architectures, with an empty and with a filled cache of kernels, and first calls.

``python -m fastlin.bench.architectures`` prints the times of the first calls in its process, as JSON.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from fastlin.bench.commands import call, run_sweep
from fastlin.bench.timing import Note
from fastlin.sweeps import presets

_EVEN = list(range(2, 17, 2))
_TEN = [2, 4, 6, 8, 10, 12, 15, 18, 21, 24]
_ALL = list(range(1, 31))


def spec(n_i: Sequence[int], n_h: Sequence[int], n_o: Sequence[int], seeds: int, lams: int) -> str:
    """Return a spec as TOML: all architectures of these sizes, in the closed form at four times."""
    return f"""
[axes]
architecture = {{ n_i = {list(n_i)}, n_h = {list(n_h)}, n_o = {list(n_o)} }}
seed = {{ start = 0, num = {seeds} }}
lam = {{ start = -9.0, stop = 9.0, num = {lams} }}
[task]
n_samples = {max(n_i)}
[dynamics]
times = [0.0, 1.0, 10.0, inf]
[output]
observables = ["loss", "kernel_distance"]
"""


def random_points(num: int, architectures: int) -> str:
    """Return a spec as TOML: random points over so many architectures of 2 to 24 units a layer."""
    sizes = np.random.default_rng(0).integers(2, 25, (architectures, 3))
    names = sorted({"-".join(map(str, shape)) for shape in sizes.tolist()})
    return f"""
[points]
sample = "random"
num = {num}
architecture = {json.dumps(names)}
lam = [-9.0, 9.0]
init_scale = {{ log = [0.05, 2.0] }}
seed = [0, 999]
[task]
n_samples = 24
[dynamics]
times = [0.0, 1.0, 4.0, inf]
[output]
observables = ["loss", "kernel_distance"]
"""


SWEEPS = {
    "64 architectures": spec(_EVEN, [1, 2, 4, 6, 8, 12, 16, 20], [8], 20, 37),
    "1,000 architectures": spec(_TEN, _TEN, _TEN, 25, 40),
    "random points": random_points(1_000_000, 500),
    "rich-lazy": presets.text("rich-lazy"),
}
LARGE = {"27,000 architectures": spec(_ALL, _ALL, _ALL, 5, 20)}


def measure_architectures(sweeps: dict[str, str], note: Note) -> dict[str, Any]:
    """Return the costs of ``fastlin run`` for specs by name: cold, which compiles all kernels, and warm."""
    figures: dict[str, Any] = {}
    for name, text in sweeps.items():
        with tempfile.TemporaryDirectory(prefix="fastlin-bench-") as made:
            folder = Path(made)
            (folder / "spec.toml").write_text(text)
            figures[name] = {}
            for state in ("cold", "warm"):
                note(f"{name}, {state}")
                store = folder / f"{state}.zarr"
                outcome = run_sweep(folder / "spec.toml", store, folder / "cache")
                figures[name][state] = {
                    "seconds": outcome.seconds,  # of the whole command
                    "run_seconds": outcome.content["seconds"],  # after the start of Python and its imports
                    "sweep_seconds": outcome.content["sweep_seconds"],  # from the first block to the last
                    "peak_rss_mb": outcome.peak_bytes / 1e6,
                    "files": sum(path.is_file() for path in store.rglob("*")),
                    "points": outcome.content["points"],
                }
    return figures


def measure_first_calls(rounds: int, note: Note) -> dict[str, float]:
    """Return median times of the first networks in a new process whose kernels are in the cache.

    ``start_seconds`` is the time from the end of all imports to the result of the first `fastlin.exact`, with
    the draws of its task and network. ``new_shape_ms`` is the time of `fastlin.exact` of another architecture
    of the same width.
    """
    note("first calls")
    with tempfile.TemporaryDirectory(prefix="fastlin-bench-") as cache:
        command = ["-m", __name__]
        call(command, Path(cache))
        times = [call(command, Path(cache)).content for _ in range(rounds)]
    return {name: median(each[name] for each in times) for name in times[0]}


def _first_calls() -> dict[str, float]:
    # Imports do not count. xarray would import Dask's arrays when it makes the first Dataset.
    import dask.array  # noqa: F401

    import fastlin.solutions.dynamics  # noqa: F401

    start = perf_counter()
    _exact(4, 3, 5)
    first = perf_counter() - start
    return {"start_seconds": first, "new_shape_ms": 1e3 * _exact(7, 3, 6)}


def _exact(n_i: int, n_h: int, n_o: int) -> float:
    """Return the seconds of `fastlin.exact` alone."""
    import fastlin as fl

    shape = fl.Architecture(n_i, n_h, n_o)
    task = fl.random_regression(shape, n_samples=10, target_scale=1.7, seed=0)
    net = fl.balanced_init(shape, lam=-1.0, init_scale=1.0, seed=0)
    start = perf_counter()
    fl.exact(task, net, [0.0, 1.0, 10.0])
    return perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(_first_calls()))
