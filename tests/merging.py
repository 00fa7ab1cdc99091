"""Stores of small sweeps that are merged, for the tests of merging."""

import fastlin as fl
from tests import sweeping

SHAPES = ["4-2-2", "2-3-4", "3-4-3"]
SMALL = {"architecture": SHAPES[:2], "init_scale": [1.0], "seed": [0, 1, 2], "lam": [-1.0, 1.0]}
MANY = [*range(48)]  # seeds, so that partial sums are kept
TIMES = [0.0, 0.9, float("inf")]
REDUCE = {"observables": ["loss", "weight_norms"], "reduce": {"statistics": ["mean", "max"]}}


def spec(output=None, times=TIMES, **axes):
    """Return a spec with these values on some axes."""
    more = {} if output is None else {"output": output}
    return sweeping.spec(axes=SMALL | axes, dynamics={"times": times}, **more)


def run_into(client, name, wanted, **options):
    """Run a spec into a store of a name, and return the name."""
    assert fl.run_sweep(wanted, name, client, **options).pending == 0 or options
    return name


def opened(path):
    """Return the content of a store, without the seed blocks of a reduced one."""
    dataset = fl.open_sweep(path).load()
    return dataset.drop_dims("seed_block") if "seed_block" in dataset.dims else dataset
