"""The time and the memory of `fastlin run` in a new process."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from fastlin.bench.commands import Outcome, run_sweep
from fastlin.bench.timing import Note
from fastlin.sweeps import presets
from fastlin.sweeps.run.executors import local_threads


def measure_sweep(preset: str, seeds: Sequence[int], rounds: int, note: Note) -> dict[str, Any]:
    """Run a preset with several numbers of seeds in turn, and return medians for the largest number.

    ``scaling`` is the time of a seed between the first block and the last, for each number of seeds, over
    that for the first number.
    """
    runs: dict[int, list[Outcome]] = {count: [] for count in seeds}
    with tempfile.TemporaryDirectory(prefix="fastlin-bench-") as folder:
        note(f"{preset}: warming up")
        _run(preset, seeds[0], Path(folder, "warm"))
        for index, count in ((index, count) for index in range(rounds) for count in seeds):
            note(f"{preset}: {count} seeds, round {index + 1} of {rounds}")
            runs[count].append(_run(preset, count, Path(folder, f"{count}-{index}")))
    last = runs[seeds[-1]]
    seconds, configurations = median(run.seconds for run in last), int(last[0].content["points"])
    per_seed = {
        count: median(run.content["sweep_seconds"] for run in outcomes) / count
        for count, outcomes in runs.items()
    }
    return {
        "preset": preset,
        "configurations": configurations,
        "seconds": seconds,
        "configurations_per_second": configurations / seconds,
        "start_up_seconds": median(run.seconds - run.content["sweep_seconds"] for run in last),
        "kernel_fraction": median(
            run.content["kernel_seconds"] / (local_threads() * run.content["sweep_seconds"]) for run in last
        ),
        "peak_rss_mb": max(run.peak_bytes for run in last) / 1e6,
        "scaling": {str(count): per_seed[count] / per_seed[seeds[0]] for count in seeds},
    }


def _run(preset: str, seeds: int, folder: Path) -> Outcome:
    """Run one sweep with a number of seeds."""
    folder.mkdir()
    spec = folder / "spec.toml"
    axis = f"seed = {{ start = 0, num = {seeds} }}"
    spec.write_text(re.sub(r"^seed = .*$", axis, presets.text(preset), flags=re.MULTILINE))
    outcome = run_sweep(spec, folder / "store.zarr")
    shutil.rmtree(folder)
    return outcome
