"""The cost of a sweep against its number of blocks.

``python -m fastlin.bench.scale`` prints the table, in some minutes. The blocks compute nothing, so that only
the cost to dispatch them, to write them and to find them again is measured.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from fastlin.sweeps.run import block as blocks
from fastlin.sweeps.run import run
from fastlin.sweeps.run.block import Result
from fastlin.sweeps.spec.group import Group
from fastlin.sweeps.store import block_shape
from fastlin.sweeps.store.status import sweep_status

COUNTS = (1_000, 10_000, 100_000)


def nothing(group: Group) -> Result:
    """Return zeros for a group."""
    grid = (group.seeds.size, group.lams.size)
    values = {name: np.zeros((*grid, group.times.size)) for name in group.observables}
    return Result(values, np.ones(grid, dtype=np.uint8))


def idle(count: int) -> None:
    """Run a sweep of `count` blocks that compute nothing, and print the cost of each part of it as JSON."""
    blocks.compute = nothing
    block_shape.LEAST_BLOCKS, block_shape.LEAST_SECONDS = count, 0.0  # one group to a block
    spec = {
        "axes": {
            "architecture": [2, 1, 2],
            "init_scale": {"start": 0.1, "stop": 1.0, "num": count},
            "seed": {"start": 0, "num": 10},
            "lam": [0.0, 1.0],
        },
        "task": {"n_samples": 5},
        "dynamics": {"times": [1.0]},
    }
    with tempfile.TemporaryDirectory(prefix="fastlin-scale-") as folder:
        path = Path(folder, "s.zarr")
        first = run.run_sweep(spec, path)
        resumed = run.run_sweep(spec, path)
        start = perf_counter()
        sweep_status(path)
        figures = {
            "milliseconds per block": 1e3 * first.sweep_seconds / count,
            "seconds to resume": resumed.seconds,
            "seconds of status": perf_counter() - start,
            "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        }
    print(json.dumps(figures))


def grown() -> list[dict[str, Any]]:
    """Return the figures of `idle` for each number of blocks, each from a new process."""
    rows = []
    for count in COUNTS:
        code = f"from fastlin.bench.scale import idle; idle({count})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        rows.append({"blocks": count, **json.loads(done.stdout)})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a table in Markdown."""
    lines = [list(rows[0]), ["-"] * len(rows[0])]
    lines += [[f"{x:.3g}" if isinstance(x, float) else f"{x}" for x in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    print(table(grown()))
