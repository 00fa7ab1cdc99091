"""The accuracy of plans: the seconds of `fastlin plan`, compared with those that `fastlin run` takes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from fastlin.bench.architectures import SWEEPS
from fastlin.bench.commands import plan_sweep, run_sweep
from fastlin.bench.timing import Note
from fastlin.sweeps import presets

_PRESETS = (
    "bottleneck-width",
    "scale-balance",
    "gradient-descent-check",
    "phase-10m",
    "architectures",
)


def _spec(architectures: str, seeds: int, lams: int, dynamics: str) -> str:
    """Return a spec as TOML."""
    return f"""
[axes]
architecture = {architectures}
seed = {{ start = 0, num = {seeds} }}
lam = {{ start = -5.0, stop = 5.0, num = {lams} }}
[task]
n_samples = 128
[dynamics]
{dynamics}
[output]
observables = ["loss", "kernel_distance"]
"""


_GRID = f"times = {[float(t) for t in range(101)]}"
_DESCENT = 'solver = "gradient_descent"\nlearning_rate = 0.002\ntimes = [0.0, 1.0, 5.0]'

PLANNED = (
    SWEEPS
    | {name: presets.text(name) for name in _PRESETS}
    | {
        "large": _spec('["64-48-64", "100-40-50", "128-32-10"]', 20, 20, _GRID),
        "descent": _spec("{ n_i = [8, 16, 32], n_h = [4, 8, 12, 16], n_o = 8 }", 40, 40, _DESCENT),
    }
)


def measure_plans(sweeps: dict[str, str], note: Note) -> list[dict[str, Any]]:
    """Return the planned and the measured seconds of specs: with threads and processes, cold and warm."""
    rows = []
    for name, text in sweeps.items():
        for options in ((), ("--workers", "2")):
            with tempfile.TemporaryDirectory(prefix="fastlin-bench-") as made:
                folder = Path(made)
                spec, cache = folder / "spec.toml", folder / "cache"
                spec.write_text(text)
                for state in ("cold", "warm"):
                    label = " ".join([name, *options])
                    note(f"plan of {label}, {state}")
                    planned = plan_sweep(spec, cache, *options).content["seconds"]
                    taken = run_sweep(spec, folder / f"{state}.zarr", cache, *options).seconds
                    rows.append(
                        {
                            "sweep": label,
                            "state": state,
                            "planned_seconds": planned,
                            "seconds": taken,
                            "ratio": planned / taken,
                        }
                    )
    return rows
