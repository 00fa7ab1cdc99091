"""The time to compile each kernel, compared with the estimate of it in plans.

``python -m fastlin.bench.compilation STEP N_I N_H N_O`` compiles one kernel and prints its processor seconds.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import process_time
from typing import Any

from fastlin.bench.case import OUTPUTS
from fastlin.bench.commands import call
from fastlin.bench.timing import Note
from fastlin.kernels import Sizes
from fastlin.kernels.compilation import Kernel

Shape = tuple[int, int, int]

SHAPES = ((4, 2, 4), (4, 4, 4), (8, 8, 8), (16, 12, 16), (64, 48, 64))  # widths 2, 4 and 8, wide, BLAS
KERNELS = (
    ("set_up", SHAPES[0]),
    *(("closed_form", shape) for shape in SHAPES),
    *(("gradient_descent", shape) for shape in SHAPES),
)


def measure_compilation(kernels: Sequence[tuple[str, Shape]], note: Note) -> dict[str, Any]:
    """Return processor seconds for each kernel, compiled in a fresh process with an empty cache."""
    figures = {}
    for step, shape in kernels:
        kernel = _kernel(step, shape)
        width = kernel.sizes.width if kernel.sizes.unrolled else "wide"
        name = f"{step} {'BLAS' if kernel.tier == 'blas' else 'all' if step == 'set_up' else width}"
        note(f"compilation of {name}")
        with tempfile.TemporaryDirectory(prefix="fastlin-bench-") as cache:
            arguments = ["-m", __name__, step, *map(str, shape)]
            seconds = float(call(arguments, Path(cache)).content)
        figures[name] = {"seconds": seconds, "estimate": kernel.seconds, "ratio": seconds / kernel.seconds}
    return figures


def _kernel(step: str, shape: Shape) -> Kernel:
    return Kernel(step, Sizes(*shape), "gaussian" if step == "set_up" else OUTPUTS)


def _compile(step: str, n_i: str, n_h: str, n_o: str) -> float:
    kernel_call = _kernel(step, (int(n_i), int(n_h), int(n_o))).call()
    start = process_time()
    kernel_call.compile()
    return process_time() - start


if __name__ == "__main__":
    print(json.dumps(_compile(*sys.argv[1:])))
