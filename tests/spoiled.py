"""Faults at single points: a copy of this file beside a `points.json` fails at the points in it.

See `tests.planting`.
"""

import collections
import itertools
import json
import os
import signal
import time
from pathlib import Path


def wrong(kind, where):
    if kind == "raise":
        raise ZeroDivisionError(f"spoiled at {where}")
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "sleep":
        time.sleep(1e6)
    if kind == "spin":
        collections.deque(itertools.repeat(None), maxlen=0)  # in C, and never releases the GIL


def plant(module):
    """Replace `compute` of a module by a function that fails at some points."""
    compute = module.compute
    listed = json.loads(Path(__file__).with_name("points.json").read_text())

    def spoiled(block):
        for n_i, scale, seed, lam, kind in listed:
            same_group = block.architecture.n_i == n_i and block.init_scale == scale
            # Kernels are loaded on a point at time 0, where only the kind "raise" fails.
            computed = kind == "raise" or block.times.size > 1
            if same_group and computed and seed in block.seeds and lam in block.lams:
                wrong(kind, (n_i, scale, seed, lam))
        return compute(block)

    module.compute = spoiled
