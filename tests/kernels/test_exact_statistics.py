"""Mergeable statistics equal exact fractions, and have the same words for any partition and order."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlin.kernels import exact_statistics as fold

LARGEST, LEAST, LEAST_NORMAL = np.finfo(float).max, 5e-324, np.finfo(float).tiny
HOSTILE = [
    0.0,
    -0.0,
    LEAST,
    LEAST_NORMAL,
    LEAST_NORMAL - LEAST,
    1e-300,
    1e-160,
    0.1,
    1.0,
    2.0**32,
    1e154,
    1e308,
]
HOSTILE += [LARGEST, 2.0**53 - 1, math.pi]
FLOATS = st.sampled_from(HOSTILE + [-x for x in HOSTILE]) | st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.lists(FLOATS, min_size=1, max_size=30)
RANDOM = st.integers(0, 2**32 - 1).map(np.random.default_rng)
NO_EDGES = np.empty(0)


def folded(values, ok=None, edges=NO_EDGES):
    """Return the cells (L, T, words) of values (S, L, T)."""
    values = np.ascontiguousarray(values, dtype=float)
    ok = np.ones(values.shape[:2], dtype=bool) if ok is None else ok
    cells = fold.empty(values.shape[1:], max(len(edges) - 1, 0))
    fold.fold(values, ok, cells, np.asarray(edges, dtype=float))
    return cells


def cell(numbers, edges=NO_EDGES):
    """Return the one cell of a list of numbers."""
    return folded(np.reshape(numbers, (-1, 1, 1)), edges=edges)[0, 0]


def nearest(fraction):
    try:
        return float(fraction)
    except OverflowError:
        return math.inf


def exact(numbers):
    """Return the mean and the standard deviation by rational arithmetic, in two passes."""
    terms = [Fraction(float(x)) for x in numbers]
    centre = sum(terms) / len(terms)
    if len(terms) < 2:
        return nearest(centre), math.nan
    return nearest(centre), math.sqrt(nearest(sum((x - centre) ** 2 for x in terms) / (len(terms) - 1)))


def pieces(rng, array):
    """Return the pieces of an array, shuffled and cut along its first axis. Pieces may be empty."""
    cuts = np.sort(rng.integers(0, len(array) + 1, rng.integers(0, 6)))
    return np.split(array[rng.permutation(len(array))], cuts)


@given(NUMBERS)
def test_statistics_are_those_of_fractions(numbers):
    words = cell(numbers)
    assert fold.count(words) == len(numbers)
    assert (fold.minimum(words), fold.maximum(words)) == (min(numbers), max(numbers))
    assert np.array_equal([fold.mean(words), fold.std(words)], exact(numbers), equal_nan=True)


@pytest.mark.parametrize("number", HOSTILE)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("times", [2, 3, 1000])
def test_a_constant_has_zero_deviation(number, sign, times):
    words = cell([sign * number] * times)
    assert (fold.mean(words), fold.std(words)) == (sign * number, 0.0)


def test_sums_are_exact_for_every_exponent():
    """Mantissas with all bits or the first bit set are exact at every position within the limbs."""
    powers = np.ldexp(1.0, np.arange(-1074, 1024))
    full = np.nextafter(2.0 * powers[:-1], 0.0)
    for numbers in (powers, -powers, full, np.concatenate([powers, -full])):
        for number in numbers:
            words = cell([number])
            assert fold.mean(words) == number
            assert np.array_equal(
                cell([number, -number])[fold._SUM : fold._SQUARES], np.zeros(fold._SUM_LIMBS)
            )
            square = Fraction(float(number)) ** 2 * 2**fold._SQUARE_UNIT
            assert fold._integer(words[fold._SQUARES : fold.WORDS]) == square
        words = cell(numbers)
        assert (fold.mean(words), fold.std(words)) == exact(numbers)


@given(NUMBERS, RANDOM)
def test_words_do_not_depend_on_partition_or_order(numbers, rng):
    edges = [-1e308, -1.0, 0.0, 0.1, 1.0, 1e308]
    whole, merged, grown = cell(numbers, edges), fold.empty((), 5), fold.empty((1, 1), 5)
    parts = pieces(rng, np.array(numbers))
    for part in parts:
        fold.merge(merged, cell(part, edges))
        fold.fold(np.reshape(part, (-1, 1, 1)), np.ones((len(part), 1), dtype=bool), grown, np.array(edges))
    assert np.array_equal(merged, whole)
    assert np.array_equal(grown[0, 0], whole)


@given(RANDOM)
def test_blocks_of_seeds(rng):
    seeds, lams, times = rng.integers(1, 12, 3)
    values = rng.standard_normal((seeds, lams, times)) * 10.0 ** rng.integers(-320, 308, (seeds, lams, times))
    ok, edges = rng.random((seeds, lams)) < 0.8, np.sort(rng.standard_normal(4))
    values[~ok] = np.nan
    whole = folded(values, ok, edges)
    merged = fold.empty((lams, times), 3)
    for part in pieces(rng, np.arange(seeds)):
        fold.merge(merged, folded(values[part], ok[part], edges))
    assert np.array_equal(merged, whole)
    for lam, time in np.ndindex(lams, times):
        alone = values[ok[:, lam], lam, time]
        assert np.array_equal(whole[lam, time], cell(alone, edges))


@given(NUMBERS, NUMBERS, NUMBERS)
def test_merge_commutes_and_associates(first, second, third):
    def sum_of(*parts):
        total = fold.empty((), 0)
        for part in parts:
            fold.merge(total, part)
        return total

    a, b, c = cell(first), cell(second), cell(third)
    assert np.array_equal(sum_of(a, b), sum_of(b, a))
    assert np.array_equal(sum_of(sum_of(a, b), c), sum_of(a, sum_of(b, c)))


@given(NUMBERS)
def test_words_have_one_form(numbers):
    words = cell(numbers)
    for first, last in ((fold._SUM, fold._SQUARES - 1), (fold._SQUARES, fold.WORDS - 1)):
        assert ((words[first:last] >= 0) & (words[first:last] < 2**32)).all()
    assert fold._integer(words[fold._SUM : fold._SQUARES]) == sum(map(Fraction, numbers)) * 2**fold._UNIT


@pytest.mark.parametrize("number", [LARGEST, -LARGEST, LEAST, -1.0])
def test_limbs_hold_more_numbers_than_there_will_be(number):
    words = cell([number])
    for _ in range(62):
        fold.merge(words, words)
    assert fold.count(words) == 2**62
    assert (fold.mean(words), fold.std(words)) == (number, 0.0)


@pytest.mark.parametrize("extra", [-1, 0, 1, 5000])
def test_more_seeds_than_are_added_before_carrying(extra):
    numbers = np.resize([LARGEST, np.nextafter(1.0, 0.0), -np.nextafter(2.0**32, 0.0)], fold._BATCH + extra)
    words, merged = cell(numbers), cell(numbers[:777])
    fold.merge(merged, cell(numbers[777:]))
    assert np.array_equal(words, merged)
    assert fold._integer(words[fold._SUM : fold._SQUARES]) == sum(map(Fraction, numbers)) * 2**fold._UNIT
    assert fold.count(words) == len(numbers)


def test_ordinary_data_agree_with_numpy():
    values = np.random.default_rng(1).lognormal(size=(300, 3, 5))
    cells = folded(values)
    assert np.allclose(fold.mean(cells), values.mean(axis=0), rtol=1e-14, atol=0.0)
    assert np.allclose(fold.std(cells), values.std(axis=0, ddof=1), rtol=1e-13, atol=0.0)
    assert np.array_equal(fold.minimum(cells), values.min(axis=0))
    assert np.array_equal(fold.maximum(cells), values.max(axis=0))
    assert np.array_equal(fold.count(cells), np.full((3, 5), 300))
    assert fold.histogram(cells).shape == (3, 5, 0)


@given(NUMBERS, st.lists(FLOATS | st.sampled_from([-np.inf, np.inf]), min_size=2, max_size=40))
def test_histogram_is_that_of_numpy(numbers, edges):
    """Edges may be equal, and numbers may lie on edges."""
    edges = np.sort(edges)
    for values in (numbers, edges[np.isfinite(edges)]):
        assert np.array_equal(fold.histogram(cell(values, edges)), np.histogram(values, edges)[0])


def test_points_that_are_not_ok_are_ignored():
    values = np.array(
        [[[1.0, 2.0], [np.nan, np.inf]], [[3.0, 5.0], [7.0, 8.0]], [[-np.inf, 0.0], [np.nan, 0.0]]]
    )
    cells = folded(values, np.array([[True, False], [True, True], [False, False]]), [0.0, 2.0, 9.0])
    assert fold.count(cells).tolist() == [[2, 2], [1, 1]]
    assert fold.mean(cells).tolist() == [[2.0, 3.5], [7.0, 8.0]]
    assert fold.histogram(cells).tolist() == [[[1, 1], [0, 2]], [[0, 1], [0, 1]]]


def test_statistics_without_numbers_are_nan():
    cells = folded(np.full((3, 1, 1), np.nan), np.zeros((3, 1), dtype=bool))
    assert np.array_equal(cells, fold.empty((1, 1), 0))
    assert not fold.count(cells).any()
    for statistic in (fold.minimum, fold.maximum, fold.mean, fold.std):
        assert np.isnan(statistic(cells)).all()


def test_a_variance_beyond_float64_is_infinite():
    words = cell([LARGEST, -LARGEST])
    assert (fold.mean(words), fold.std(words)) == (0.0, math.inf)


def test_zeros_have_one_sign():
    assert np.array_equal(cell([0.0, -0.0]), cell([-0.0, 0.0]))
    assert math.copysign(1.0, fold.minimum(cell([-0.0]))) == 1.0


def test_shapes_and_orders_that_would_be_misread_are_refused():
    values, ok, cells = np.zeros((3, 2, 4)), np.ones((3, 2), dtype=bool), fold.empty((2, 4), 0)
    for wrong in (
        (values, ok[:2], cells, NO_EDGES),
        (values, ok, cells[:, :3], NO_EDGES),
        (values, ok, cells, np.arange(3.0)),
    ):
        with pytest.raises(ValueError, match="do not match"):
            fold.fold(*wrong)
    with pytest.raises(ValueError, match="do not match"):
        fold.merge(cells, cells[:1])
    with pytest.raises(ValueError, match="need C order"):
        fold.fold(values[::-1], ok, cells, NO_EDGES)
    with pytest.raises(ValueError, match="need C order"):
        fold.merge(cells[::-1], cells)
