"""`fastlin refine`: rounds of new points bracket every border, with few points."""

import json

import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.run.refinement import refine_sweep
from fastlin.sweeps.store.verify import verify
from tests import cutting, sweeping
from tests.sweeping import content

SHAPES = ["4-2-2", "2-3-4", "3-4-3"]
FIRST = np.linspace(-9.0, 9.0, 13)
SEEDS = [0, 1, 2]
TOLERANCE = 1e-3


@pytest.fixture(autouse=True)
def few_blocks():
    """Cut sweeps by the rule of the library, because each round adds few rows."""
    with cutting.by_the_rule():
        yield


def spec(shapes=SHAPES, lams=FIRST, **changes):
    """Return a spec of the product of some architectures and lam, as a table."""
    rows = [(shape, lam) for shape in shapes for lam in lams]
    points = {"architecture": [shape for shape, _ in rows], "lam": [lam for _, lam in rows]}
    output = {"observables": ["kernel_distance"]}
    more = {"axes": {"seed": SEEDS}, "dynamics": {"times": [np.inf]}, "output": output} | changes
    return sweeping.spec(points=points, **more)


def mean_distance(shape, lam):
    """Return the mean kernel distance at t = inf over the seeds, by the solution of single networks."""
    distances, architecture = [], fl.Architecture(*map(int, shape.split("-")))
    for seed in SEEDS:
        task = fl.random_regression(architecture, 8, target_scale=1.5, seed=seed)
        net = fl.balanced_init(architecture, lam=lam, seed=seed)
        distances.append(float(fl.exact(task, net, [np.inf]).kernel_distance[-1]))
    return np.mean(distances)


def test_borders_to_a_thousandth_take_at_most_a_tenth_of_the_points_of_the_product(tmp_path):
    path = tmp_path / "s.zarr"
    fl.run_sweep(spec(), path)
    done = refine_sweep(path, "kernel_distance", 0.15, tolerance=TOLERANCE)
    found = done.borders
    assert done.wide == 0
    assert set(found["architecture"]) == set(SHAPES)
    assert (found["high"] - found["low"] <= TOLERANCE).all()
    of_product = len(SHAPES) * len(SEEDS) * round((FIRST[-1] - FIRST[0]) / TOLERANCE)
    assert done.points <= of_product / 10
    assert done.points <= of_product / 500  # which is much less than promised
    assert done.rounds <= 7
    assert done.points == fl.open_sweep(path).status.size
    for row in found.to_dict("records"):
        ends = [mean_distance(row["architecture"], row[name]) for name in ("low", "high")]
        assert np.allclose(ends, [row["value_low"], row["value_high"]], rtol=1e-9)
        assert (ends[0] < 0.15) != (ends[1] < 0.15)
    assert verify(path) == []
    again = refine_sweep(path, "kernel_distance", 0.15, tolerance=TOLERANCE)
    assert (again.rounds, again.added_points) == (0, 0)


def test_an_interrupted_refinement_goes_on(tmp_path, monkeypatch):
    """The rounds do not depend on where a run ended, so the store is the same."""
    small = spec(SHAPES[:1])
    for name in ("whole", "s"):
        fl.run_sweep(small, tmp_path / name)
    refine_sweep(tmp_path / "whole")
    from fastlin.sweeps.run import refinement

    real, calls = refinement.run, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(refinement, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        refine_sweep(tmp_path / "s")
    refine_sweep(tmp_path / "s")
    assert content(tmp_path / "s") == content(tmp_path / "whole")


def test_a_design_and_seeds_as_a_column_are_refined(tmp_path):
    """A design becomes a table when points are added that are not of it."""
    design = {
        "sample": "sobol",
        "num": 16,
        "lam": [-9.0, 9.0],
        "architecture": "4-2-2",
        "seed": {"choice": [3]},
    }
    content = sweeping.spec(
        axes={}, points=design, dynamics={"times": [np.inf]}, output={"observables": ["kernel_distance"]}
    )
    fl.run_sweep(content, tmp_path / "s")
    done = refine_sweep(tmp_path / "s", tolerance=1e-2)
    assert done.wide == 0
    assert len(done.borders) >= 1
    assert (done.borders["high"] - done.borders["low"] <= 1e-2).all()
    assert set(fl.open_sweep(tmp_path / "s").seed.values.tolist()) == {3}


def test_refine_on_the_command_line(tmp_path, monkeypatch, command_line):
    monkeypatch.chdir(tmp_path)
    fl.run_sweep(spec(SHAPES[:2]), "s")
    code, out, _ = command_line("refine", "s", "--tolerance", "0.01")
    assert code == 0
    *lines, last = out.splitlines()
    found = fl.borders(fl.open_sweep("s"))
    assert len(lines) == len(found)
    first = found.iloc[0]
    low, high, estimate = (float(first[name]) for name in ("low", "high", "estimate"))
    assert lines[0] == f"architecture 4-2-2: {estimate:.8g}, in [{low!r}, {high!r}]"
    assert last.startswith(f"s: {len(found)} borders; ")
    code, out, err = command_line("refine", "s", "--tolerance", "0.01", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["rounds"] == 0
    assert json.loads(out)["borders"][0]["architecture"] == "4-2-2"


def test_products_and_axes_that_are_no_columns_are_refused(tmp_path, monkeypatch, command_line, swept):
    monkeypatch.chdir(tmp_path)
    code, _, err = command_line("refine", str(swept))
    assert (code, err.count("\n")) == (2, 1)
    assert (
        "holds a product of axes, to which no single points can be added; run a spec with [points] into"
        in err
    )
    fl.run_sweep(spec(SHAPES[:1], FIRST[:2]), "s")
    code, _, err = command_line("refine", "s", "--axis", "kappa")
    assert (code, err) == (2, "fastlin: axis is 'kappa'; allowed: lam\n")
    code, _, err = command_line("refine", "s", "--time", "3.0")
    assert code == 2
    assert "time = 3.0 is not on the axis of the sweep" in err
