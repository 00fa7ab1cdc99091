"""One step of a tool in a process of its own: ``python -m fastlin.bench.compare.process STEP``.

STEP is JSON, see `Step`. The process leads a process group, which can be killed as a whole.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from fastlin.bench.compare.grid import Grid
from fastlin.bench.compare.probe import Orders
from fastlin.bench.compare.tools import TOOLS
from fastlin.errors import StoppedError


@dataclass(frozen=True)
class Step:
    """A step of a tool in a folder.

    Parameters
    ----------
    tool : str
        A name in `TOOLS`.
    verb : str
        "run", "grow" or "mend".
    grid : Grid
    folder : Path
    more : range, optional
        Seeds that "grow" adds.
    """

    tool: str
    verb: str
    grid: Grid
    folder: Path
    more: range | None = None

    def to_json(self) -> str:
        """Return the step as JSON."""
        content = asdict(self) | {"folder": str(self.folder), "more": _ends(self.more)}
        return json.dumps(content | {"grid": asdict(self.grid) | {"seeds": _ends(self.grid.seeds)}})

    @classmethod
    def from_json(cls, text: str) -> Step:
        """Return the step of a JSON text."""
        content = json.loads(text)
        grid, more = content["grid"], content["more"]
        return cls(
            content["tool"],
            content["verb"],
            Grid(tuple(grid["architectures"]), range(*grid["seeds"]), grid["lam_count"]),
            Path(content["folder"]),
            None if more is None else range(*more),
        )


class Ended(NamedTuple):
    """The end of a step."""

    seconds: float  # of the whole process
    code: int
    errors: str


def start(step: Step, orders: Orders | None = None) -> Ended:
    """Run a step in a new process, with or without orders to its probe. It may fail."""
    environment = os.environ | ({} if orders is None else orders.environment())
    command = [sys.executable, "-m", __name__, step.to_json()]
    with tempfile.TemporaryFile("w+") as errors:  # a pipe would stay open while any child process lives
        began = perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env=environment, start_new_session=True
        )
        try:
            code = process.wait()
        except BaseException:  # such as Ctrl-C, which does not reach a process group of its own
            os.killpg(process.pid, signal.SIGKILL)
            raise
        seconds = perf_counter() - began
        errors.seek(0)
        return Ended(seconds, code, errors.read())


def do(step: Step, orders: Orders | None = None) -> Ended:
    """Run a step that must succeed.

    Raises
    ------
    StoppedError
        If it fails.
    """
    ended = start(step, orders)
    if ended.code != 0:
        raise StoppedError(f"{step.tool}, {step.verb}: ended with {ended.code}: {ended.errors.strip()}")
    return ended


def _ends(seeds: range | None) -> list[int] | None:
    return None if seeds is None else [seeds.start, seeds.stop]


def _carry_out(step: Step) -> None:
    tool = TOOLS[step.tool]
    if step.verb == "grow":
        assert step.more is not None
        tool.grow(step.grid, step.more, step.folder)
    else:
        work = {"run": tool.run, "mend": tool.mend}[step.verb]
        work(step.grid, step.folder)


if __name__ == "__main__":
    _carry_out(Step.from_json(sys.argv[1]))
