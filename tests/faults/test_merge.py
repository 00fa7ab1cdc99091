"""Merges that are killed at any step: the same call goes on, and nothing is lost."""

import random
import shutil
from functools import partial

import pytest

import fastlin as fl
from tests import cutting, fault_injection, sweeping
from tests.campaign import trials
from tests.sweeping import content

pytestmark = pytest.mark.processes

REDUCED = {"observables": ["loss"], "reduce": {"statistics": ["mean"]}}
MANY = 48  # seeds, so that partial sums are kept


def spec(first, seeds, lam=(-1.0, 1.0), output=None):
    axes = {"architecture": [[2, 1, 2], [3, 2, 2]], "seed": [*range(first, first + seeds)], "lam": list(lam)}
    output = output or {"observables": ["loss", "weight_norms"]}
    return sweeping.spec(axes=axes, dynamics={"times": [0.0, 0.5]}, output=output)


def rows(*lams, output=None):
    """Return a spec of some rows of a table, with seeds beside them."""
    whole = spec(0, 3, output=output)
    points = {"lam": list(lams), "architecture": ["2-1-2", "3-2-2"] * (len(lams) // 2)}
    return whole | {"axes": {"seed": [0, 1, 2]}, "points": points}


# The specs of two stores, and the slices of them that are there.
KINDS = {
    "rows": ([rows(0.5, 1.0), rows(0.5, -1.0, 0.0, 1.0)], [None, None]),
    "reduced rows": ([rows(0.5, 1.0, output=REDUCED), rows(-1.0, 0.0, output=REDUCED)], [None, None]),
    "slices": ([spec(0, 3)] * 2, ["1/2", "2/2"]),
    "seeds": ([spec(3, 2), spec(0, 3)], [None, None]),
    "reduced slices": ([spec(0, 3, output=REDUCED)] * 2, ["1/2", "2/2"]),
    "reduced seeds": ([spec(MANY, MANY, output=REDUCED), spec(0, MANY, output=REDUCED)], [None, None]),
    "reduced lam": (
        [spec(0, 3, [1.0], output=REDUCED), spec(0, 3, [-1.0, 2.0], output=REDUCED)],
        [None, None],
    ),
}


@trials(2, 0)
@pytest.mark.parametrize("into", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_merge_goes_on(tmp_path, trials, kind, into):
    parts = [tmp_path / "a.zarr", tmp_path / "b.zarr"]
    sizes = {"architectures": 1 + ("lam" in kind), "seeds": MANY // 2 if kind == "reduced seeds" else 2}
    with cutting.into(**sizes):
        for path, each, part in zip(parts, *KINDS[kind], strict=True):
            fl.run_sweep(each, path, slice=part)
    sources = content(parts[1])

    def prepared(name):
        """Return the path of the merged store, and the call that merges into it."""
        path = tmp_path / f"{name}.zarr"
        if into:
            return path, partial(fl.merge_sweeps, parts, path)
        shutil.copytree(parts[0], path)
        return path, partial(fl.merge_sweeps, [path, parts[1]])

    path, merge = prepared("whole")
    total = len(fault_injection.recorded_steps(merge))
    whole = content(path)
    chance = random.Random(1)
    for at in range(total) if trials == 0 else fault_injection.spread(total, trials, chance):
        path, merge = prepared(at)
        fault_injection.kill_at(at, merge, torn=at % 2)
        fault_injection.check_recovery(path, merge, whole)
        assert (
            fl.open_sweep(path).attrs["spec_hash"]
            == fl.open_sweep(tmp_path / "whole.zarr").attrs["spec_hash"]
        )
    assert content(parts[1]) == sources
