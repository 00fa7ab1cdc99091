"""Makes points go wrong; a copy beside a `points.json` says which, see `tests.planting`."""

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
        collections.deque(itertools.repeat(None), maxlen=0)  # in C, and never lets go of the lock


def plant(module):
    """Put what makes points go wrong in the place of `compute`."""
    compute = module.compute
    listed = json.loads(Path(__file__).with_name("points.json").read_text())

    def spoiled(block):
        for n_i, scale, seed, lam, kind in listed:
            here = block.architecture.n_i == n_i and block.init_scale == scale
            # Kernels are loaded on a point at the time 0, where only what raises goes wrong.
            computed = kind == "raise" or block.times.size > 1
            if here and computed and seed in block.seeds and lam in block.lams:
                wrong(kind, (n_i, scale, seed, lam))
        return compute(block)

    module.compute = spoiled
