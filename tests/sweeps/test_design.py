"""Designs of points: ranges, reproducibility and growth."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastlin as fl
from fastlin.sweeps.spec.design import GROWING, SAMPLES, Design, Range, exponentials, read_design
from fastlin.sweeps.spec.faults import Faults

KINDS = {"architecture": "text", "n_h": "integer", "seed": "integer", "init_scale": "real", "lam": "real"}
FULL = {
    "n_h": [2, 24],
    "seed": {"log": [1, 1000]},
    "init_scale": {"log": [1e-3, 10.0]},
    "lam": [-9, 9],
    "architecture": ["2-3-4", "4-2-4"],
}


def read(table):
    faults = Faults()
    design = read_design("points", table, KINDS, faults)
    faults.check()
    return design


@given(st.sampled_from(SAMPLES), st.integers(1, 300), st.integers(0, 2**40))
def test_values_lie_in_their_ranges(sample, num, seed):
    design = read({"sample": sample, "num": num, "sample_seed": seed} | FULL)
    columns = design.draw()
    assert list(columns) == list(KINDS)
    assert all(len(values) == num for values in columns.values())
    assert columns["n_h"].dtype == columns["seed"].dtype == np.int64
    for name, (low, high) in {
        "n_h": (2, 24),
        "seed": (1, 1000),
        "init_scale": (1e-3, 10.0),
        "lam": (-9, 9),
    }.items():
        assert low <= columns[name].min()
        assert columns[name].max() <= high
    assert set(columns["architecture"].tolist()) <= {"2-3-4", "4-2-4"}
    again = read(design.to_dict())
    assert again == design
    assert all(np.array_equal(again.draw()[name], values) for name, values in columns.items())


@given(st.sampled_from(GROWING), st.integers(1, 200), st.integers(1, 200))
def test_designs_grow(sample, first, second):
    few, many = sorted((first, second))
    small, large = (read({"sample": sample, "num": num, "sample_seed": 3} | FULL) for num in (few, many))
    assert small.grows_to(large)
    assert not large.grows_to(small) or few == many
    for name, values in small.draw().items():
        assert np.array_equal(values, large.draw()[name][:few])


def test_a_latin_hypercube_does_not_grow():
    small, large = (read({"sample": "latin", "num": num, "lam": [0.0, 1.0]}) for num in (8, 16))
    assert not small.grows_to(large)
    # One point lies in each of 8 equal parts.
    assert np.array_equal(np.sort(np.floor(8 * small.draw()["lam"])), np.arange(8))


def test_another_seed_or_range_is_another_design():
    design = read({"sample": "sobol", "num": 8, "lam": [0.0, 1.0]})
    for change in ({"sample_seed": 1}, {"lam": [0.0, 2.0]}, {"sample": "halton"}):
        other = read(design.to_dict() | change)
        assert not design.grows_to(other)
        assert not np.array_equal(other.draw()["lam"], design.draw()["lam"])


def test_all_whole_numbers_of_a_range_are_drawn_equally_often():
    design = read({"sample": "sobol", "num": 2**12, "n_h": [3, 6]})
    values, counts = np.unique(design.draw()["n_h"], return_counts=True)
    assert values.tolist() == [3, 4, 5, 6]
    assert counts.tolist() == [2**10] * 4


def test_exponentials_have_the_same_bits_everywhere():
    x = np.linspace(-140.0, 140.0, 100_001)
    assert np.abs(exponentials(x) / np.exp(x) - 1.0).max() < 1e-15
    digest = hashlib.sha256(exponentials(x).astype("<f8").tobytes()).hexdigest()
    assert digest[:16] == "8dad5806eaf8cc9b"


def test_the_ends_of_a_range_of_seeds():
    last = 2**63 - 1
    values = Range("linear", (0, last)).at(np.array([0.0, 0.5, np.nextafter(1.0, 0.0)]))
    assert values[0] == 0
    assert values.min() >= 0
    assert values.max() <= last


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample": "sobl"}, "points.sample is 'sobl'; did you mean 'sobol'?"),
        ({"num": None}, "points.num is missing"),
        ({"num": 0}, "points.num is 0; allowed is 1 to"),
        ({"sample_seed": -1}, "points.sample_seed is -1; allowed is 0 to"),
        ({"lam": [3.0, 1.0]}, "a range is [low, high] with low < high"),
        ({"lam": [1.0, 2.0, 3.0]}, "a range is [low, high] with low < high"),
        ({"lam": {"log": [-1.0, 1.0]}}, "points.lam.log begins at -1; a logarithmic range needs it above 0"),
        ({"lam": {"lag": [-1.0, 1.0]}}, "needed is a range [low, high], {log = [low, high]}"),
        ({"lam": ["x", 1]}, "points.lam[0] is 'x'; a number is needed"),
        ({"lam": [float("nan"), 1]}, "points.lam[0] is nan; a number is needed"),
        ({"n_h": [2.5, 4]}, "points.n_h[0] is 2.5; a whole number is needed"),
        ({"architecture": {"log": ["a", "b"]}}, "names have no range"),
        ({"lamda": [1.0, 2.0]}, "[points] has the unknown key 'lamda'; did you mean 'lam'?"),
        ({"lam": 3.0}, "[points] has no column with a range"),
    ],
)
def test_faults_of_a_design(change, message):
    table = {"sample": "sobol", "num": 8, "lam": [0.0, 1.0]} | change
    with pytest.raises(fl.InputError) as caught:
        read({name: value for name, value in table.items() if value is not None})
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_constant_is_no_dimension_of_the_sample():
    """Otherwise a constant would change the other columns."""
    design = read({"sample": "sobol", "num": 16, "lam": [0.0, 1.0]})
    more = design.with_constant("n_h", 3, list(KINDS))
    assert np.array_equal(more.draw()["lam"], design.draw()["lam"])
    assert (more.draw()["n_h"] == 3).all()
    assert isinstance(more, Design)
