"""Small sweeps that the tests share."""

import os
from pathlib import Path

import numpy as np

import fastlin as fl


def spec(**changes):
    """Return the content of a small spec. Each of `changes` replaces a whole section."""
    return {
        "name": "small",
        "axes": {
            "architecture": [[4, 2, 2], [3, 4, 3], [2, 3, 4]],
            "init_scale": [0.5, 1.0],
            "seed": {"start": 0, "num": 6},
            "lam": {"start": -4.0, "stop": 4.0, "num": 5},
        },
        "task": {"n_samples": 8, "target_scale": 1.5},
        "dynamics": {"times": [0.0, 0.9, 9.0, float("inf")]},
        "output": {"observables": ["loss", "kernel_distance", "weight_norms", "effective_rank"]},
    } | changes


def own_task(n_i, n_o, sign=1.0):
    """Return a section [task] of own data, whose inputs are not whitened."""
    draw = np.random.default_rng(n_i)
    x, noise = draw.standard_normal((n_i, 12)), draw.standard_normal((n_o, 12))
    return {"kind": "data", "data": fl.Task(x, sign * (np.eye(n_o, n_i) @ x + 0.2 * noise))}


MARKUP = '</script><script>alert(1)</script> <b>"x"</b> & co'
BOTH = {"solver": ["exact", "gradient_descent"], "learning_rate": 0.009, "times": [0.0, 0.9, 9.0]}


def content(path):
    """Return the bytes of every file of a store, by key."""
    return {
        str(Path(folder, name).relative_to(path)): Path(folder, name).read_bytes()
        for folder, _, names in os.walk(path)
        for name in names
    }


def chunks(path):
    """Return the bytes of the chunks of the arrays over points."""
    axes = {
        "architecture",
        "n_i",
        "n_h",
        "n_o",
        "init_scale",
        "solver",
        "learning_rate",
        "seed",
        "lam",
        "time",
    }
    axes |= {"layer", "statistic", "seed_block", "bin_left", "bin_right", "kappa", "rate_ratio", "noise_seed"}
    return {
        name: data
        for name, data in content(path).items()
        if "/c." in name and name.partition("/")[0] not in axes
    }


def marks(path):
    """Return the commit markers of a store (chunks of status), and the time at which each was written."""
    return {file: file.stat().st_mtime_ns for file in Path(path, "status").glob("c.*")}
