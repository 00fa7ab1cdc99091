"""Records of raw starts hold the weights themselves, in the SVD basis of the task."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastlin as fl
from fastlin.kernels import Problem, Record, Sizes, draw_raw_records
from fastlin.kernels.blas import problems as blas_problems
from fastlin.kernels.compilation import Kernel, distinct, missing
from fastlin.kernels.compiler.plain import Plain
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.draws import (
    ENTRY_LAWS,
    AlignedStart,
    RegressionStart,
    RegressionTask,
    WeightStart,
    lane_start,
)
from fastlin.kernels.sizes import RawSizes, SizesOfMany
from fastlin.kernels.vector import problems, raw_problems
from tests import reference
from tests.networks import CLASSES

SCALE, SAMPLES = 0.7, 12
KINDS = list(ENTRY_LAWS)
NEAR = [(3, 7, 5), (3, 8, 5), (5, 9, 3), (2, 20, 2), (12, 10, 11), (9, 40, 2)]  # N_h <, = and > N_i + N_o
LARGE = [(70, 5, 66), (3, 20_000, 3), pytest.param((66, 140, 70), marks=pytest.mark.slow)]  # drawn by NumPy


def drawn_as(kind, sizes, seeds, **form):
    task = RegressionTask(max(SAMPLES, sizes.n_i), 1.5)
    return draw_raw_records(sizes, np.array(seeds), Problem(task, WeightStart(kind), SCALE), **form)


def parts(record, sizes):
    """Return s, the least loss and Q (N, width) of a record."""
    at = Record(sizes.unreduced)
    assert record.size == at.length
    assert not record[at.p : at.floor].any()
    v = record[at.v : at.u].reshape(sizes.n_i, -1)
    u = record[at.u :].reshape(sizes.n_o, -1)
    return record[at.s : at.p], record[at.floor], np.vstack([v, u])


def powers(qqt, modes):
    """Return the blocks of the modes in QQ^T and its powers, which no rotation of other rows changes.

    The signs of the modes are those of the first row.
    """
    kept = qqt[np.ix_(modes, modes)]
    signs = np.where(kept[0] < 0.0, -1.0, 1.0)
    blocks = [np.linalg.matrix_power(qqt, power)[np.ix_(modes, modes)] for power in (1, 2, 3)]
    return np.array([signs[:, None] * block * signs / np.linalg.norm(block) for block in blocks])


def assert_record_of(record, w1, w2, seed):
    """Check a record of a random regression task against weights that are not reduced or rotated."""
    sizes = Sizes(w1.shape[1], w1.shape[0], w2.shape[0])
    s, floor, q = parts(record, sizes)
    arch = fl.Architecture(sizes.n_i, sizes.n_h, sizes.n_o)
    task = fl.random_regression(arch, max(SAMPLES, sizes.n_i), 1.5, seed)
    u, values, vt = np.linalg.svd(task.sigma_yx)
    assert np.abs(s - values).max() < 1e-12
    assert q.shape == (sizes.n_i + sizes.n_o, min(sizes.n_h, sizes.n_i + sizes.n_o))

    turned = np.vstack([vt @ w1.T, u.T @ w2])
    modes = np.r_[: sizes.m, sizes.n_i : sizes.n_i + sizes.m]
    assert np.allclose(powers(q @ q.T, modes), powers(turned @ turned.T, modes), rtol=1e-9, atol=1e-10)
    for ours, theirs in ((q[: sizes.n_i], w1), (q[sizes.n_i :], w2)):
        assert np.linalg.norm(ours) == pytest.approx(np.linalg.norm(theirs), rel=1e-12)

    error = -q[sizes.n_i :] @ q[: sizes.n_i].T
    error[np.arange(sizes.m), np.arange(sizes.m)] += s
    loss = floor + 0.5 * np.sum(error**2)
    assert loss == pytest.approx(reference.loss(w1, w2, task.sigma_yx, task.sigma_yy_trace), rel=1e-10)


def weights(kind, sizes, seed):
    return (SCALE * layer for layer in WeightStart(kind).weights(seed, sizes))


@given(
    shape=st.builds(Sizes, st.integers(1, 6), st.integers(1, 14), st.integers(1, 6)),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**63 - 1),
)
def test_records_are_the_weights(shape, kind, seed):
    (record,) = drawn_as(kind, shape, [seed])
    assert_record_of(record, *weights(kind, shape, seed), seed)


@pytest.mark.parametrize("shape", [*NEAR, *LARGE], ids=str)
@pytest.mark.parametrize("kind", ["torch", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS)])
def test_records_of_wide_and_of_large_networks_are_the_weights(shape, kind):
    sizes = Sizes(*shape)
    for seed, record in zip((0, 9), drawn_as(kind, sizes, [0, 9]), strict=True):
        assert_record_of(record, *weights(kind, sizes, seed), seed)


@pytest.mark.parametrize("shape", [*CLASSES.values(), *NEAR], ids=str)
@pytest.mark.parametrize("kind", ["he", "zero_output"])
def test_lanes_and_lapack_agree(shape, kind):
    """Both complete a basis by the same reflections, so that only the signs of modes differ."""
    sizes, seeds = Sizes(*shape), np.arange(5)
    problem = Problem(RegressionTask(SAMPLES, 1.5), WeightStart(kind), SCALE)
    scales = np.full(seeds.size, problem.init_scale)
    lanes = raw_problems.draw_records(sizes, seeds, problem, scales, False)
    lapack = blas_problems.draw_raw_records(sizes, seeds, problem, scales)
    for ours, theirs in zip(lanes, lapack, strict=True):
        (s, floor, q), (values, least, other) = (parts(record, sizes) for record in (ours, theirs))
        assert np.abs(s - values).max() < 1e-13
        assert floor == pytest.approx(least, rel=1e-13)
        assert np.abs(np.abs(q @ q.T) - np.abs(other @ other.T)).max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_lanes_draw_the_bits_of_the_weights(kind):
    """A task of one mode has the singular vectors 1 or -1, so that no operation rounds."""
    sizes, seeds = Sizes(1, 2, 1), [0, 3, 2**63 - 1]
    for seed, record in zip(seeds, drawn_as(kind, sizes, seeds), strict=True):
        w1, w2 = weights(kind, sizes, seed)
        assert np.array_equal(np.abs(parts(record, sizes)[2]), np.abs(np.vstack([w1.T, w2])))


@pytest.mark.parametrize("shape", [(3, 9, 5), (4, 40, 4), (3, 20_000, 3)], ids=str)
@pytest.mark.parametrize("kind", ["ntk", "zero_output"])
def test_weights_beyond_n_hidden_units_become_a_triangle(shape, kind):
    """Signs make it unique."""
    for record in drawn_as(kind, Sizes(*shape), range(3)):
        q = parts(record, Sizes(*shape))[2]
        assert not np.triu(q, 1).any()
        assert (q.diagonal() >= 0.0).all()
        assert (q.diagonal() > 0.0).sum() == (shape[0] if kind == "zero_output" else sum(shape[::2]))


@pytest.mark.parametrize("shape", [(4, 2, 4), (3, 9, 5), (9, 40, 2)], ids=str)
@pytest.mark.parametrize("kind", ["lecun", "torch"])
def test_records_do_not_depend_on_their_neighbours(shape, kind):
    sizes = Sizes(*shape)
    together = drawn_as(kind, sizes, range(19))
    assert np.array_equal(drawn_as(kind, sizes, [7]), together[7:8])
    assert np.array_equal(drawn_as(kind, sizes, range(18, 4, -1)), together[:4:-1])


FORMS = [(3, 9, 5), *(pytest.param(shape, marks=pytest.mark.slow) for shape in NEAR)]


@pytest.mark.parametrize("shape", FORMS, ids=str)
@pytest.mark.parametrize("kind", ["xavier", "zero_output"])
def test_both_forms_give_the_same_bits(shape, kind):
    loaded, special = (drawn_as(kind, Sizes(*shape), range(9), specialise=flag) for flag in (False, True))
    assert loaded.tobytes() == special.tobytes()


@pytest.mark.parametrize("shape", [(4, 2, 4), (5, 2, 3), (3, 9, 5)], ids=str)
def test_parts_on_arrays_are_those_on_lanes(shape):
    sizes, seeds = Sizes(*shape), np.arange(WIDTH)
    law, task = WeightStart("torch"), RegressionTask(SAMPLES, 1.5)
    raw = RawSizes(*shape)
    code, ws = Plain(lambda value: np.full(WIDTH, value), raw), raw_problems.RawSetUp.plain(raw)
    targets = np.array([task.normals(seed, sizes).along.ravel() for seed in seeds]).T
    numbers = np.array([np.concatenate([w.ravel() for w in law.weights(seed, sizes)]) for seed in seeds]).T
    problems.write_task(code, ws, targets, task.unit(sizes))
    problems.decompose_task(code, ws)
    raw_problems.write_weights(code, ws, numbers, 1.0, 1.0, SCALE)
    raw_problems.rotate_weights(code, ws)
    if sizes.n_h > sizes.units:
        raw_problems.reduce_weights(code, ws)
    for seed, record in enumerate(drawn_as("torch", sizes, seeds)):
        q = np.vstack([ws.first.values[..., seed], ws.second.values[..., seed]])[:, : raw.width]
        assert np.abs(parts(record, sizes)[2] - q).max() < 1e-13


@dataclass(frozen=True)
class Ones:
    """A law of weights that no kernel knows."""

    power: ClassVar[int] = 2

    def weights(self, seed, sizes):
        """Return weights of the value 1."""
        return np.ones((sizes.n_h, sizes.n_i)), np.ones((sizes.n_o, sizes.n_h))

    def product(self, seed, sizes):
        """Return their product."""
        return np.full((sizes.n_o, sizes.n_i), float(sizes.n_h))


def test_any_law_of_weights_has_raw_records():
    sizes, law = Sizes(4, 3, 2), Ones()
    problem = Problem(RegressionTask(SAMPLES, 1.5), law, SCALE)
    (record,) = draw_raw_records(sizes, np.array([4]), problem)
    assert_record_of(record, *(SCALE * layer for layer in law.weights(4, sizes)), 4)


@pytest.mark.parametrize("start", [RegressionStart(SAMPLES), AlignedStart()], ids=repr)
def test_a_law_without_weights_has_no_raw_records(start):
    problem = Problem(RegressionTask(SAMPLES, 1.5), start, SCALE)
    with pytest.raises(TypeError, match="is not a law of weights, so that it has no raw starts"):
        draw_raw_records(Sizes(4, 2, 4), np.arange(2), problem)


def test_one_kernel_serves_all_laws_and_architectures():
    shapes = [Sizes(4, 2, 4), Sizes(3, 50, 7), Sizes(30, 4, 20)]
    raw = [Kernel("raw_set_up", sizes, kind) for sizes in shapes for kind in KINDS]
    balanced = [Kernel("set_up", sizes, kind) for sizes in shapes for kind in KINDS]
    assert len(distinct(raw)) == len(distinct(balanced)) == 1
    assert len(distinct([*raw, *balanced])) == 2
    drawn_as("zero_output", Sizes(3, 5, 7), [0])
    assert not missing(raw)
    assert [lane_start(kind, 9).kind for kind in KINDS] == KINDS
    assert Kernel("raw_set_up", Sizes(3, 20_000, 3), "lecun").tier == "numpy"


sizes_of_records = st.builds(Sizes, st.integers(1, 9), st.integers(1, 30), st.integers(1, 9))


@given(sizes=sizes_of_records)
def test_raw_sizes_have_the_record_of_unreduced_ones(sizes):
    raw = RawSizes(sizes.n_i, sizes.n_h, sizes.n_o)
    assert vars(Record(raw)) == vars(Record(sizes.unreduced))
    assert (raw.width, raw.n_h) == (sizes.unreduced.n_h, sizes.n_h)


def test_estimates_of_many_sizes_are_those_of_each():
    shapes = np.array([(4, 2, 4), (4, 16, 4), (16, 4, 16), (20, 300, 20)])
    together = raw_problems.nanoseconds(SizesOfMany(shapes))
    assert together.tolist() == [raw_problems.nanoseconds(Sizes(*shape)) for shape in shapes.tolist()]
    assert (np.diff(together[[0, 1, 2]]) > 0).all()
    assert 100.0 < together[0] < 5000.0
