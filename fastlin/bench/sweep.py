"""The whole command: `fastlin run` in a process of its own, its time and its memory."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any, NamedTuple

import psutil

from fastlin.bench.timing import Say
from fastlin.errors import StoppedError
from fastlin.sweeps import presets
from fastlin.sweeps.engines import local_threads

POLL_SECONDS = 0.01  # the system's own record of the peak begins with that of the process that starts it


class _Outcome(NamedTuple):
    """What one run of the command took."""

    report: dict[str, Any]  # as `fastlin run --json` prints it
    seconds: float
    peak_bytes: int


def measure_sweep(preset: str, seeds: Sequence[int], rounds: int, say: Say) -> dict[str, Any]:
    """Run a preset with ever more seeds, all in turn; figures are medians, and those of the most seeds.

    ``scaling`` tells what a seed of the sweep proper costs, for each number of seeds over the first.
    """
    runs: dict[int, list[_Outcome]] = {count: [] for count in seeds}
    with tempfile.TemporaryDirectory(prefix="fastlin-bench-") as folder:
        say(f"{preset}: warming up")
        _run(preset, seeds[0], Path(folder, "warm"))
        for index, count in ((index, count) for index in range(rounds) for count in seeds):
            say(f"{preset}: {count} seeds, round {index + 1} of {rounds}")
            runs[count].append(_run(preset, count, Path(folder, f"{count}-{index}")))
    last = runs[seeds[-1]]
    seconds, configurations = median(run.seconds for run in last), int(last[0].report["points"])
    per_seed = {
        count: median(run.report["sweep_seconds"] for run in outcomes) / count
        for count, outcomes in runs.items()
    }
    return {
        "preset": preset,
        "configurations": configurations,
        "seconds": seconds,
        "configurations_per_second": configurations / seconds,
        "start_up_seconds": median(run.seconds - run.report["sweep_seconds"] for run in last),
        "kernel_fraction": median(
            run.report["kernel_seconds"] / (local_threads() * run.report["sweep_seconds"]) for run in last
        ),
        "peak_rss_mb": max(run.peak_bytes for run in last) / 1e6,
        "scaling": {str(count): per_seed[count] / per_seed[seeds[0]] for count in seeds},
    }


def _run(preset: str, seeds: int, place: Path) -> _Outcome:
    """Run one sweep as a user would; all its threads are one process, whose memory the system tells."""
    place.mkdir()
    spec, store = place / "spec.toml", place / "store.zarr"
    axis = f"seed = {{ start = 0, num = {seeds} }}"
    spec.write_text(re.sub(r"^seed = .*$", axis, presets.text(preset), flags=re.MULTILINE))
    command = [sys.executable, "-m", "fastlin", "run", str(spec), "--store", str(store), "--json"]
    with (place / "output").open("w+") as output, (place / "errors").open("w+") as errors:
        start, peak = perf_counter(), 0
        process = psutil.Popen(command, stdout=output, stderr=errors)
        while process.poll() is None:
            with suppress(psutil.Error):  # it may end at any time
                peak = max(peak, process.memory_info().rss)
            sleep(POLL_SECONDS)
        seconds = perf_counter() - start
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            raise StoppedError(
                f"the sweep of {preset} ended with {process.returncode}: {errors.read().strip()}"
            )
        report = json.load(output)
    shutil.rmtree(place)
    return _Outcome(report, seconds, peak)
