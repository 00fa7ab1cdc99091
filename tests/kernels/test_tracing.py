"""Traced code: the same function on NumPy arrays and on lanes, elementary functions, random numbers."""

import mpmath
import numpy as np
import pytest
from llvmlite.binding import get_process_triple
from scipy import stats

import fastlin as fl
from fastlin import kernels
from fastlin.kernels import Sizes
from fastlin.kernels.compiler import elementary
from fastlin.kernels.compiler.jit import jit
from fastlin.kernels.compiler.plain import Plain
from fastlin.kernels.compiler.static import CompileTime
from fastlin.kernels.compiler.tracing import traced
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.compiler.workspace import aligned
from fastlin.kernels.random import Stream, draw_run, philox, scratch, standard_normals, stream_key
from fastlin.kernels.vector.forms import form
from fastlin.kernels.vector.gradient_descent import step
from fastlin.kernels.vector.state import Dynamics
from tests.networks import CLASSES, problem

ANY = Sizes(1, 1, 1)


@traced(q="n width", s="m")
def traced_step(code, q, s):
    step(code, q, s)


@jit
def compiled_step(sizes, q, s):
    traced_step(sizes, q, s)


@pytest.mark.parametrize("shape", [*CLASSES.values(), (12, 10, 11)], ids=str)
def test_a_step_is_the_same_on_arrays_and_on_lanes(shape):
    sizes, rng = Sizes(*shape), np.random.default_rng(0)
    q, s = rng.standard_normal((sizes.n, sizes.width, WIDTH)), rng.random((sizes.m, WIDTH))
    on_arrays, on_lanes = 0.1 * q, 0.1 * q
    step(Plain(float, sizes), on_arrays, s)
    compiled_step(CompileTime(sizes), on_lanes, s)
    assert np.abs(on_arrays - on_lanes).max() <= 4e-16 * sizes.n


@traced(columns="width width", rows="width width")
def traced_blocks(code, columns, rows):
    for last in code.loop(1, code.sizes.width + 1):
        for block in code.blocks(last):
            for h in block:
                columns[last - 1, h] = columns[last - 1, h] + 1.0
        for group in code.rows(1, last):
            for i in group:
                rows[last - 1, i] = rows[last - 1, i] + 1.0


@jit
def compiled_blocks(sizes, columns, rows):
    traced_blocks(sizes, columns, rows)


def test_blocks_hold_each_column_and_each_row_once():
    for width in (*range(9, 21), 40):
        sizes = Sizes(width, width, width)
        for chosen in (form(sizes, Dynamics), CompileTime(sizes))[: 2 if width == 9 else 1]:
            columns, rows = np.zeros((2, width, width, WIDTH))
            compiled_blocks(chosen, columns, rows)
            until, each = np.arange(1, width + 1)[:, None], np.arange(width)
            assert (rows[..., 0] == ((each >= 1) & (each < until))).all()
            requested = each < until
            assert (columns[..., 0][requested] == 1.0).all()
            # The last block may be up to three columns longer.
            beyond = columns[..., 0] * ~requested
            assert beyond.max() <= 1.0 and beyond.sum(axis=1).max() <= 3.0


def compiled(function, outputs):
    """Return a function of arrays that applies `function` to lanes."""

    @traced()
    def run(code, x, y, count):
        x, y = x.vectors(), y.vectors()
        for i in code.loop(0, count):
            results = function(x[i])
            for place, value in enumerate(results if outputs > 1 else (results,)):
                y[i * outputs + place] = value

    @jit
    def loop(sizes, x, y):
        run(sizes, x, y, x.shape[0])

    def of_arrays(x):
        vectors = np.resize(x, (-(-x.size // WIDTH), WIDTH))
        out = np.empty((len(vectors) * outputs, WIDTH))
        loop(CompileTime(ANY), vectors, out)
        return [column.ravel()[: x.size] for column in out.reshape(-1, outputs, WIDTH).swapaxes(0, 1)]

    return of_arrays


def ulps(got, function, x):
    exact = [function(mpmath.mpf(float(value))) for value in x]
    return max(
        abs(mpmath.mpf(float(g)) - e) / np.spacing(abs(float(e))) for g, e in zip(got, exact, strict=True)
    )


RNG = np.random.default_rng(0)
ARGUMENTS = np.concatenate(
    [-(10 ** RNG.uniform(-18, 2.84, 1500)), RNG.uniform(-1, 1, 500), [0.0, -707.9, 700.0]]
)


def test_exponentials():
    exp, expm1 = compiled(elementary.exponentials, 2)(ARGUMENTS)
    with mpmath.workdps(40):
        assert ulps(exp, mpmath.exp, ARGUMENTS) <= 2
        assert ulps(expm1, mpmath.expm1, ARGUMENTS) <= 2
    exp, expm1 = compiled(elementary.exponentials, 2)(np.array([-709.0, -1e6, -np.inf, np.nan]))
    assert exp[:3].tolist() == [0.0] * 3
    assert expm1[:3].tolist() == [-1.0] * 3
    assert np.isnan(exp[3])
    assert np.isnan(expm1[3])


def test_log():
    x = np.concatenate([RNG.random(1000), 10 ** RNG.uniform(-300, 300, 500), [1.0, 2.0**-53, 1 - 2.0**-53]])
    with mpmath.workdps(40):
        assert ulps(compiled(elementary.log, 1)(x)[0], mpmath.log, x) <= 2


def test_sine_and_cosine():
    x = np.concatenate([RNG.random(1000), np.arange(9) / 8, [1 - 2.0**-53]])
    sine, cosine = compiled(elementary.sine_cosine_of_turns, 2)(x)
    with mpmath.workdps(40):
        for got, function in ((sine, mpmath.sinpi), (cosine, mpmath.cospi)):
            exact = [function(2 * mpmath.mpf(float(value))) for value in x]
            assert max(abs(mpmath.mpf(float(g)) - e) for g, e in zip(got, exact, strict=True)) < 2.3e-16


@traced(sized=False)
def traced_philox(code, seed, key, blocks, out):
    for block in code.loop(0, blocks):
        for number, word in enumerate(philox(code, seed, key, block + 1)):
            out.store(block * 4 + number, word.ir)


@jit
def compiled_philox(seed, key, blocks, out):
    traced_philox(seed, key, blocks, out)


def test_philox_is_that_of_numpy():
    for seed in (0, 7, 2**63 - 1):
        key = stream_key(Stream.INIT_GAUSSIAN, Sizes(4, 2, 3))
        theirs = np.random.Philox(key=np.array([seed, key], dtype=np.uint64)).random_raw(40)
        ours = np.empty(40, dtype=np.uint64)
        compiled_philox(np.uint64(seed), np.uint64(key), 10, ours)
        assert np.array_equal(ours, theirs)


def test_normal_numbers_are_normal_and_have_places():
    numbers = standard_normals(Stream.TARGETS, 3, ANY, 20001)
    assert stats.kstest(numbers, "norm").pvalue > 0.01
    assert abs(np.corrcoef(numbers[:-1:2], numbers[1::2])[0, 1]) < 0.03
    assert np.array_equal(numbers[20:121], standard_normals(Stream.TARGETS, 3, ANY, 101, first=10))


@pytest.mark.parametrize("rows", [4, 12, 2052])  # 2052 rows are more than two chunks of each lane
def test_a_run_of_normal_numbers_has_the_order_of_its_stream(rows):
    numbers, key = aligned(rows), np.uint64(stream_key(Stream.TARGETS, ANY))
    draw_run(key, np.full(WIDTH, 3), 10, scratch(), numbers)
    assert np.array_equal(numbers.T.ravel(), standard_normals(Stream.TARGETS, 3, ANY, numbers.size, first=10))


def test_law_of_the_sufficient_statistics():
    """The statistics that are drawn directly have the law of the literal construction (B.2.1)."""
    arch, samples, count = fl.Architecture(3, 2, 2), 7, 3000
    at = kernels.Record(arch.sizes)
    records = kernels.draw_records(arch.sizes, np.arange(count), problem("gaussian", samples, 1.5, 1.0))
    rng = np.random.default_rng(5)
    literal = np.empty((count, 3))
    for trial in literal:
        x = rng.standard_normal((3, samples))
        variances, axes = np.linalg.eigh(x @ x.T / samples)
        x = (axes / np.sqrt(variances)) @ axes.T @ x
        y = 1.5 / np.sqrt(2) * rng.standard_normal((2, samples))
        sigma = y @ x.T / samples
        trial[:2] = np.linalg.svd(sigma, compute_uv=False)
        trial[2] = (np.sum(y**2) / samples - np.sum(sigma**2)) / 2
    for ours, theirs in zip((*records[:, at.s : at.p].T, records[:, at.floor]), literal.T, strict=True):
        assert stats.ks_2samp(ours, theirs).pvalue > 0.01


SHAPES = [*CLASSES.values(), (3, 2, 20), (8, 6, 3), (30, 10, 2)]
LARGE = [(70, 5, 66), (300, 40, 20)]  # set up by LAPACK


@pytest.mark.parametrize("shape", SHAPES + LARGE, ids=str)
@pytest.mark.parametrize("kind", ["gaussian", "random_regression", "xavier", "torch", "zero_output"])
def test_records_are_those_of_the_networks(shape, kind):
    """Singular values and overlaps of the records are those of the single-network API."""
    arch = fl.Architecture(*shape)
    at, samples = kernels.Record(arch.sizes), max(9, shape[0])
    records = kernels.draw_records(arch.sizes, np.arange(3), problem(kind, samples, 1.5, 0.7))
    for seed, record in enumerate(records):
        task = fl.random_regression(arch, samples, 1.5, seed)
        net = fl.balanced_init(arch, 1.0, 0.7, seed, kind, n_samples=samples)
        s = record[at.s : at.p]
        v = record[at.v : at.u].reshape(arch.sizes.rows_i, arch.sizes.k_i)
        u = record[at.u :].reshape(arch.sizes.rows_o, arch.sizes.k_o)
        assert np.abs(s - np.linalg.svd(task.sigma_yx, compute_uv=False)).max() < 1e-13
        assert record[at.floor] == pytest.approx(task.loss_floor, rel=1e-13)
        product = (u[:, : arch.sizes.k] * record[at.p : at.floor]) @ v[:, : arch.sizes.k].T
        assert np.linalg.norm(product) == pytest.approx(np.linalg.norm(net.w2 @ net.w1), rel=1e-12)
        overlap = np.sum(product[: arch.sizes.m, : arch.sizes.m].diagonal() * s)
        assert overlap == pytest.approx(np.sum(task.sigma_yx * (net.w2 @ net.w1)), rel=1e-9, abs=1e-12)
        for matrix in (u, v):
            assert np.abs(matrix.T @ matrix - np.eye(matrix.shape[1])).max() < 1e-13


@traced(x="n width", inside="n width", after="n width")
def traced_flush(code, x, inside, after):
    with code.flushing():
        for i in code.loop(0, code.sizes.n):
            inside[i, 0] = x[i, 0] * 0.5
    for i in code.loop(0, code.sizes.n):
        after[i, 0] = x[i, 0] * 0.5


@jit
def compiled_flush(sizes, x, inside, after):
    traced_flush(sizes, x, inside, after)


@pytest.mark.skipif(not get_process_triple().startswith("x86_64"), reason="only x86 is slow on small numbers")
def test_denormals_are_flushed_only_within_flushing():
    tiny = np.finfo(float).tiny
    x = np.repeat([[[1.5 * tiny]], [[4.0 * tiny]]], WIDTH, axis=-1)
    inside, after = np.empty_like(x), np.empty_like(x)
    compiled_flush(CompileTime(ANY), x, inside, after)
    assert np.array_equal(inside[..., 0], [[0.0], [2.0 * tiny]])
    assert np.array_equal(after, 0.5 * x)
    assert (0.5 * x > 0).all()  # the arithmetic of this thread is unchanged
