"""Axes: lists, ranges and their combinations. Every form of an axis reads back to the same bits."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastlin as fl
from fastlin.sweeps.spec import axes
from tests import sweeping

INF = float("inf")


@given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e3), st.integers(2, 50))
def test_ranges_read_back_to_the_same_bits(start, length, count):
    values = axes.reals("x", {"start": start, "stop": start + length, "num": count})
    assert np.array_equal(axes.reals("x", axes.compact(values)), values)
    assert values[0] == start
    assert values[-1] == start + length


@given(st.floats(1e-3, 1e3), st.integers(1, 40))
def test_symmetric_ranges_are_symmetric_and_hold_an_exact_zero(end, half):
    values = axes.reals("lam", {"start": -end, "stop": end, "num": 2 * half + 1})
    assert np.array_equal(values, -values[::-1])
    assert values[half] == 0.0


@given(st.lists(st.floats(0, 1e300) | st.just(INF), min_size=1, max_size=8, unique=True))
def test_lists_read_back_to_the_same_bits(numbers):
    values = axes.reals("times", numbers, 0.0, infinite=True)
    assert values.tolist() == sorted(numbers)
    assert np.array_equal(axes.reals("times", axes.compact(values), 0.0, infinite=True), values)


def test_architectures_as_they_are_printed():
    assert axes.architectures("a", ["4-2-4", "3-3-3"]) == axes.architectures("a", [[4, 2, 4], [3, 3, 3]])
    assert axes.architectures("a", "4-2-4") == axes.architectures("a", [4, 2, 4])
    with pytest.raises(fl.InputError, match=r"a\[1\]: architecture is '4-2'; needed are three sizes"):
        axes.architectures("a", ["4-2-4", "4-2"])


def test_architecture_product():
    shapes = axes.architectures("a", {"n_i": {"start": 3, "num": 4}, "n_h": 2, "n_o": [3, 5]})
    assert [str(shape) for shape in shapes][:3] == ["3-2-3", "3-2-5", "4-2-3"]
    assert len(shapes) == 8


def test_decimal_grids_hold_short_decimals():
    values = axes.reals("lam", {"start": -9.0, "stop": 9.0, "num": 181})
    assert values.tolist() == [round(-9 + i / 10, 1) for i in range(181)]
    thirds = axes.reals("lam", {"start": 0.0, "stop": 1.0, "num": 4})
    assert thirds[1] == 1 / 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"start": 0.1, "stop": 0.5, "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"start": 0.1, "stop": 0.55, "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"start": 0.1, "num": 5, "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"start": 0.1, "stop": 0.5, "num": 5}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"start": -9, "stop": 9, "step": 4.5}, [-9.0, -4.5, 0.0, 4.5, 9.0]),
        ({"start": 1, "stop": 1, "step": 0.5}, [1.0]),
        ({"start": 0.12345, "num": 3, "step": 0.12345}, [0.12345, 0.2469, 0.37035]),
        ({"start": 0, "stop": 0.37035, "num": 4}, [0.0, 0.12345, 0.2469, 0.37035]),
        ({"start": 0, "num": 2, "step": 1e-300}, [0.0, 1e-300]),
        ({"start": -1e308, "stop": 1e308, "num": 3}, [-1e308, 0.0, 1e308]),
        ({"start": 1, "stop": 100, "num": 3, "spacing": "log"}, [1.0, 10.0, 100.0]),
        ({"start": 0.0625, "stop": 16, "num": 9, "spacing": "log"}, [2.0**k for k in range(-4, 5)]),
        ({"start": 0.3, "stop": 0.9, "num": 2, "spacing": "log"}, [0.3, 0.9]),
        ([0.0, {"start": 0.1, "stop": 0.3, "step": 0.1}, 5], [0.0, 0.1, 0.2, 0.3, 5.0]),
        ([{"start": -2, "stop": 2, "num": 5}, {"start": -0.2, "stop": 0.2, "step": 0.1}],
         [-2.0, -1.0, -0.2, -0.1, 0.0, 0.1, 0.2, 1.0, 2.0]),
        ([{"start": 0, "stop": 1, "num": 2}, 1.0], [0.0, 1.0]),
        ([{"start": 0, "stop": 1, "num": 2}], [0.0, 1.0]),
    ],
)  # fmt: skip
def test_ranges_of_reals(value, expected):
    assert axes.reals("x", value).tolist() == expected


@given(
    start=st.sampled_from(["0.001", "0.3", "1", "7", "2e-5"]),
    ratio=st.fractions(1, 20, max_denominator=4).filter(lambda ratio: ratio > 1),
    steps=st.integers(1, 12),
    between=st.integers(1, 3),
)
def test_rational_values_of_a_logarithmic_range_are_rounded_once(start, ratio, steps, between):
    """The ratio is that of the numbers as they are written."""
    first = Fraction(start)
    last = float(first * ratio**steps)
    whole = (Fraction(repr(last)) / first) == ratio**steps
    value = {"start": float(start), "stop": last, "num": steps * between + 1, "spacing": "log"}
    values = axes.reals("x", value)
    assert (values[0], values[-1]) == (float(start), last)
    np.testing.assert_allclose(values, np.geomspace(float(start), last, values.size), rtol=1e-14)
    if whole:
        assert values[::between].tolist() == [float(first * ratio**index) for index in range(steps + 1)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"start": 2, "num": 3}, [2, 3, 4]),
        ({"start": 2, "num": 3, "step": 5}, [2, 7, 12]),
        ({"start": 2, "stop": 12, "step": 5}, [2, 7, 12]),
        ({"start": 2, "stop": 16, "step": 5}, [2, 7, 12]),
        ({"start": 2, "stop": 12, "num": 3}, [2, 7, 12]),
        ({"start": 2, "stop": 4}, [2, 3, 4]),
        ({"start": 2, "stop": 2, "num": 1}, [2]),
        ([7, {"start": 0, "num": 3}, {"start": 2, "stop": 4}], [0, 1, 2, 3, 4, 7]),
        ({"start": 2**63 - 3, "stop": 2**63 - 1}, [2**63 - 3, 2**63 - 2, 2**63 - 1]),
    ],
)
def test_ranges_of_whole_numbers(value, expected):
    values = axes.integers("x", value)
    assert values.dtype == np.int64
    assert values.tolist() == expected


@pytest.mark.parametrize(
    ("read", "value", "message"),
    [
        (axes.reals, {"start": 0, "stop": 1}, "x has start, stop; a range is start with two of"),
        (axes.reals, {"start": 0, "num": 3}, "x has start, num; a range is start with two of"),
        (axes.reals, {"stop": 1, "num": 3}, "x lacks 'start'; needed: start"),
        (axes.reals, {"start": 0, "stop": 1, "num": 3, "step": 1}, "x has start, stop, num, step; a range"),
        (axes.reals, {"start": 0, "stop": 1, "step": 0}, "x.step is 0; it must be above 0"),
        (axes.reals, {"start": 0, "stop": 1, "step": -1}, "x.step is -1; it must be above 0"),
        (axes.reals, {"start": 1, "stop": 0, "step": 1}, "x runs from 1 to 0; start <= stop is needed"),
        (axes.reals, {"start": 0, "stop": 1, "step": 1e-8}, "makes 100000001 values; at most 10000000"),
        (axes.reals, {"start": 0, "stop": 1e300, "step": 1e-300}, "makes a whole number of 1994 bits values"),
        (axes.reals, {"start": 1e16, "num": 3, "step": 0.5}, "3 values are not all distinct numbers"),
        (axes.reals, {"start": 1e308, "num": 3, "step": 1e308}, "x, its last value is inf; a finite"),
        (axes.reals, {"start": 1, "stop": 2, "step": 1, "spacing": "log"}, "that needs start, stop and num"),
        (axes.reals, [0.0, {"start": 0, "num": 3}], "x[1] has start, num; a range is start with two of"),
        (axes.reals, [1.0, 1.0, {"start": 0, "num": 2, "step": 1}], "x holds 1 more than once"),
        (axes.reals, [{"start": n, "num": 10**6, "step": 1} for n in range(11)], "x has 11000000 values"),
        (axes.integers, {"start": 0, "stop": 10, "num": 4}, "in 4 values, which are not all whole numbers"),
        (axes.integers, {"start": 0, "stop": 10, "num": 1}, "x runs from 0 to 10 in 1 values; start < stop"),
        (axes.integers, {"start": 4, "stop": 1}, "x runs from 4 to 1; start <= stop is needed"),
        (axes.integers, {"start": 4, "step": 2}, "x has start, step; a range is start with two of"),
        (axes.integers, {"start": 4}, "x has start; a range is start with two of"),
        (axes.integers, {"start": 0, "stop": 1.5}, "x.stop is 1.5; a whole number is needed"),
        (axes.integers, {"start": 0, "num": 3, "step": 0.5}, "x.step is 0.5; a whole number is needed"),
        (axes.integers, {"start": 0, "stop": 9, "num": 4, "spacing": "log"}, "unknown key 'spacing'"),
        (axes.integers, {"start": 0, "stop": 10**18}, "values; at most 10000000 are allowed"),
    ],
)
def test_faults_of_ranges_are_one_line(read, value, message):
    with pytest.raises(fl.InputError) as caught:
        read("x", value)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def forms(start, step, count, digits):
    """Return an axis of decimals with `digits` digits in all its forms."""
    unit = 10**digits
    first, stride, last = start / unit, step / unit, (start + step * (count - 1)) / unit
    listed = [(start + step * index) / unit for index in range(count)]
    half = count // 2
    split = [{"start": first, "num": half, "step": stride}, *listed[half:]] if half else listed
    beyond = (2 * (start + step * (count - 1)) + step) / (2 * unit)
    return [
        listed,
        split,
        {"start": first, "stop": last, "num": count},
        {"start": first, "stop": last, "step": stride},
        {"start": first, "stop": beyond, "step": stride},
        {"start": first, "num": count, "step": stride},
    ]


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**5), st.integers(1, 60), st.integers(0, 9))
def test_all_forms_of_an_axis_are_the_same_sweep(start, step, count, digits):
    expected, *others = forms(start, step, count, digits)
    for form in others:
        assert axes.reals("lam", form).tolist() == expected
    hashes = {fl.Spec.from_dict(with_axis("lam", form)).hash for form in [expected, *others]}
    assert len(hashes) == 1


@given(st.integers(0, 10**6), st.integers(1, 10**5), st.integers(1, 60))
def test_all_forms_of_seeds_are_the_same_sweep(start, step, count):
    stop = start + step * (count - 1)
    several = [
        list(range(start, stop + 1, step)),
        range(start, stop + 1, step),
        np.arange(start, stop + 1, step),
        {"start": start, "stop": stop, "num": count},
        {"start": start, "stop": stop, "step": step},
        {"start": start, "num": count, "step": step},
        [stop, {"start": start, "num": count, "step": step}],
    ]
    assert len({fl.Spec.from_dict(with_axis("seed", form)).hash for form in several}) == 1


def with_axis(name, value):
    content = sweeping.spec()
    content["axes"][name] = value
    return content


def test_every_axis_takes_every_form():
    spans = [{"start": 1, "stop": 3, "num": 3}, {"start": 1, "stop": 3, "step": 1},
             {"start": 1, "num": 3, "step": 1}, [1, {"start": 2, "num": 2, "step": 1}]]  # fmt: skip
    for span in spans:
        content = sweeping.spec()
        content["axes"] |= {"lam": span, "init_scale": span, "seed": span}
        content["axes"]["architecture"] = {"n_i": span, "n_h": span, "n_o": span}
        content["dynamics"] = {"solver": "gradient_descent", "times": span, "learning_rate": 0.01}
        spec = fl.Spec.from_dict(content)
        for values in (spec.lams, spec.init_scales, spec.seeds, spec.times):
            assert values.tolist() == [1, 2, 3]
        assert len(spec.architectures) == 27
        content["dynamics"] = {"solver": "gradient_descent", "times": 900, "learning_rate": span}
        spec = fl.Spec.from_dict(content)
        assert spec.learning_rates.tolist() == [1, 2, 3]
        assert spec.point_dims["learning_rate"] == 3


def test_a_zero_has_no_sign():
    values = axes.reals("lam", [-0.0, 1.0])
    assert math.copysign(1.0, values[0]) == 1.0
    assert fl.Spec.from_dict(with_axis("lam", -0.0)).hash == fl.Spec.from_dict(with_axis("lam", 0.0)).hash


def test_a_long_range_of_decimals_is_read_at_once():
    values = axes.reals("lam", {"start": 0.0, "step": 1e-6, "num": 10**7})
    picked = random.Random(0).sample(range(10**7), 100)
    assert [values[index] for index in picked] == [index / 10**6 for index in picked]


def test_architectures_in_all_forms():
    shape = fl.Architecture(4, 2, 4)
    product = {"n_i": 3, "n_h": [1, 2], "n_o": 3}
    listed = axes.architectures("a", [shape, [4, 4, 4], "2-2-2", product])
    assert [str(each) for each in listed] == ["4-2-4", "4-4-4", "2-2-2", "3-1-3", "3-2-3"]
    assert axes.architectures("a", shape) == axes.architectures("a", [4, 2, 4]) == (shape,)
    assert axes.architectures("a", [product, "3-2-3"]) == axes.architectures("a", product)
    with pytest.raises(fl.InputError, match="a holds 4-2-4 more than once"):
        axes.architectures("a", [shape, [4, 2, 4]])
    for value in ((shape, (3, 2, 3)), np.array([[4, 2, 4], [3, 2, 3]]), [shape, fl.Architecture(3, 2, 3)]):
        spec = fl.Spec.from_dict(with_axis("architecture", value))
        assert [str(each) for each in spec.architectures] == ["4-2-4", "3-2-3"]
