"""`fastlin refine`: rounds of new points bracket every border, with few points."""

import json

import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.run import refinement
from fastlin.sweeps.store.verify import verify
from tests import cutting, sweeping
from tests.sweeping import content

SHAPES = ["4-2-2", "2-3-4", "3-4-3"]
FIRST = np.linspace(-9.0, 9.0, 13)
SEEDS = [0, 1, 2]


@pytest.fixture(autouse=True)
def few_blocks():
    """Cut sweeps by the rule of the library, because each round adds few rows."""
    with cutting.by_the_rule():
        yield


@pytest.fixture
def refine(command_line, tmp_path, monkeypatch):
    """Return a function that runs ``fastlin refine --json`` on a store and returns its result."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code, out, err = command_line("refine", *arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return call


def spec(shapes=SHAPES, lams=FIRST):
    """Return a spec of the product of some architectures and lam, as a table."""
    rows = [(shape, lam) for shape in shapes for lam in lams]
    points = {"architecture": [shape for shape, _ in rows], "lam": [lam for _, lam in rows]}
    output = {"observables": ["kernel_distance"]}
    return sweeping.spec(points=points, axes={"seed": SEEDS}, dynamics={"times": [np.inf]}, output=output)


def mean_distance(shape, lam):
    """Return the mean kernel distance at t = inf over the seeds, by the solution of single networks."""
    distances, architecture = [], fl.Architecture(*map(int, shape.split("-")))
    for seed in SEEDS:
        task = fl.random_regression(architecture, 8, target_scale=1.5, seed=seed)
        net = fl.balanced_init(architecture, lam=lam, seed=seed)
        distances.append(float(fl.exact(task, net, [np.inf]).kernel_distance[-1]))
    return np.mean(distances)


def test_borders_to_a_thousandth_take_at_most_a_tenth_of_the_points_of_the_product(refine):
    """The product with this resolution has 18,000 lam. About 30 are enough for each architecture."""
    tolerance = 1e-3
    fl.run_sweep(spec(), "s")
    done = refine("s", "--at", "0.15", "--tolerance", str(tolerance))
    assert {border["architecture"] for border in done["borders"]} == set(SHAPES)
    assert all(border["high"] - border["low"] <= tolerance for border in done["borders"])
    of_product = len(SHAPES) * len(SEEDS) * round((FIRST[-1] - FIRST[0]) / tolerance)
    assert done["points"] == fl.open_sweep("s").status.size
    assert done["points"] <= of_product / 10
    assert done["points"] <= of_product / 400  # what it takes in fact, with room
    assert done["rounds"] <= 7
    for border in done["borders"]:
        ends = [mean_distance(border["architecture"], border[name]) for name in ("low", "high")]
        assert np.allclose(ends, [border["value_low"], border["value_high"]], rtol=1e-9)
        assert (ends[0] < 0.15) != (ends[1] < 0.15)
    assert verify("s") == []
    again = refine("s", "--at", "0.15", "--tolerance", str(tolerance))
    assert (again["rounds"], again["added_points"], again["borders"]) == (0, 0, done["borders"])


def test_an_interrupted_refinement_goes_on(refine, monkeypatch, command_line):
    """The rounds do not depend on where a run ended, so the store is the same."""
    for name in ("whole", "s"):
        fl.run_sweep(spec(SHAPES[:1]), name)
    refine("whole")
    real, calls = refinement.run, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(refinement, "run", interrupted)
    assert command_line("refine", "s")[0] == 130
    refine("s")
    assert content("s") == content("whole")


def test_a_design_and_seeds_as_a_column_are_refined(refine):
    """A design becomes a table when points are added that are not of it."""
    design = {"sample": "sobol", "num": 16, "lam": [-9.0, 9.0], "architecture": "4-2-2"}
    given = sweeping.spec(
        axes={},
        points=design | {"seed": {"choice": [3]}},
        dynamics={"times": [np.inf]},
        output={"observables": ["kernel_distance"]},
    )
    fl.run_sweep(given, "s")
    done = refine("s", "--tolerance", "0.01", "--each-seed")
    assert len(done["borders"]) >= 1
    assert {border["seed"] for border in done["borders"]} == {3}
    assert all(border["high"] - border["low"] <= 0.01 for border in done["borders"])
    assert set(fl.open_sweep("s").seed.values.tolist()) == {3}


def test_refine_in_words(refine, command_line):
    fl.run_sweep(spec(SHAPES[:2]), "s")
    code, out, err = command_line("refine", "s", "--tolerance", "0.01")
    assert code == 0
    assert err.startswith("round 1: ")
    *lines, last = out.splitlines()
    found = fl.borders(fl.open_sweep("s")).to_dict("records")
    assert len(lines) == len(found)
    low, high, estimate = (found[0][name] for name in ("low", "high", "estimate"))
    assert lines[0] == f"architecture 4-2-2: {estimate:.8g}, in [{low!r}, {high!r}]"
    assert last.startswith(f"s: {len(found)} border")
    assert command_line("refine", "s", "--tolerance", "0.01", "-q") == (0, "", "")


def test_a_border_among_bad_points_is_told_and_the_exit_code_is_1(refine, command_line, monkeypatch):
    """No new points are proposed there, so that the rounds end."""
    from fastlin.sweeps.read import open as reading

    fl.run_sweep(spec(SHAPES[:1]), "s")
    real = reading.open_sweep

    def with_bad_points(path):
        dataset = real(path)
        first = np.isclose(dataset.lam.values[:, None], FIRST).any(axis=1)
        return dataset.assign_coords(status=dataset.status.where(first, "diverged"))

    monkeypatch.setattr(reading, "open_sweep", with_bad_points)
    code, out, _ = command_line("refine", "s")
    assert code == 1
    assert "s: 1 border, 1 of them wider, because points inside are bad; " in out


def test_products_and_axes_that_are_no_columns_are_refused(refine, command_line, swept):
    code, _, err = command_line("refine", str(swept))
    assert (code, err.count("\n")) == (2, 1)
    assert "holds a product of axes, to which no single points can be added; run a spec with [points]" in err
    fl.run_sweep(spec(SHAPES[:1], FIRST[:2]), "s")
    code, _, err = command_line("refine", "s", "--axis", "kappa")
    assert (code, err) == (2, "fastlin: axis is 'kappa'; allowed: lam\n")
    code, _, err = command_line("refine", "s", "--time", "3.0")
    assert code == 2
    assert "time = 3.0 is not on the axis of the sweep" in err


def test_without_a_border_the_range_of_the_observable_is_named(command_line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fl.run_sweep(spec(["4-2-2"], [-1.5, 0.5, 3.0]), "s")
    means = [mean_distance("4-2-2", lam) for lam in (-1.5, 0.5, 3.0)]
    code, out, _ = command_line("refine", "s", "--at", "0.999", "--quiet")
    assert (code, out) == (0, "")
    code, out, _ = command_line("refine", "s", "--at", "0.999")
    assert code == 0
    assert f"does not cross 0.999 along lam, it is between {min(means):.4g} and {max(means):.4g}" in out
