"""Whole commands in new processes: their output, their time and their memory."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from time import perf_counter, sleep
from typing import Any, NamedTuple

import psutil

from fastlin.errors import StoppedError

# The peak is polled, because the system's record of it starts with the peak of the parent process.
POLL_SECONDS = 0.01


class Outcome(NamedTuple):
    """The result of a command, and the time and memory that it took."""

    content: Any  # the JSON that it printed
    seconds: float
    peak_bytes: int  # of the process itself, with all threads of a sweep, without child processes


def call(arguments: Sequence[str], cache: Path | None = None) -> Outcome:
    """Run ``python ARGUMENTS``, which prints JSON.

    Parameters
    ----------
    arguments : sequence of str
    cache : Path, optional
        Folder of compiled kernels. If it is empty, the command compiles all kernels that it needs.
    """
    environment = os.environ | ({} if cache is None else {"NUMBA_CACHE_DIR": str(cache)})
    with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        start, peak = perf_counter(), 0
        process = psutil.Popen([sys.executable, *arguments], stdout=output, stderr=errors, env=environment)
        while process.poll() is None:
            with suppress(psutil.Error):  # the process may end at any time
                peak = max(peak, process.memory_info().rss)
            sleep(POLL_SECONDS)
        seconds = perf_counter() - start
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            command = " ".join(arguments)
            raise StoppedError(f"python {command} ended with {process.returncode}: {errors.read().strip()}")
        return Outcome(json.load(output), seconds, peak)


def run_sweep(spec: str | Path, store: Path, cache: Path | None = None, *options: str) -> Outcome:
    """Run ``fastlin run`` in a new process."""
    return call(["-m", "fastlin", "run", str(spec), "--store", str(store), "--json", *options], cache)


def plan_sweep(spec: str | Path, cache: Path | None = None, *options: str) -> Outcome:
    """Run ``fastlin plan`` in a new process."""
    return call(["-m", "fastlin", "plan", str(spec), "--json", *options], cache)
