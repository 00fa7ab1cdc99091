"""Paired batches: a point has the bits that it has in the product of records and lam."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlin.kernels import (
    Output,
    Scale,
    Sizes,
    Status,
    dispatch,
    draw_raw_records,
    draw_records,
    empty_batch,
)
from fastlin.kernels.batch import FlowControl, kappas_of
from fastlin.kernels.blas import dynamics, flow, time_scales, two_sided_dynamics
from fastlin.kernels.codes import Start
from fastlin.kernels.starts import starts
from fastlin.solvers import EXACT, FLOW, GRADIENT_DESCENT, Points, Settings
from tests.networks import problem

OUTPUTS = (Output.LOSS, Output.KERNEL_DISTANCE)
SCALES = tuple(Scale)
SIZES = {"narrow": Sizes(4, 2, 3), "wide": Sizes(10, 9, 10)}
WITH_KAPPA = Sizes(2, 5, 3)
SEEDS = np.arange(3)
LAMS = np.array([-4.0, 0.0, 0.3, 2.0])
KAPPAS = np.array([0.05, 1.7])
TIMES = np.array([0.0, 0.5, 1.0, 9.0])
STEPS = np.array([0, 3, 8])
CONTROL = FlowControl(1e-8, 5000)
BLAS = {
    "closed form": partial(dynamics.prepare_closed_form, outputs=OUTPUTS),
    "gradient descent": partial(dynamics.prepare_gradient_descent, outputs=OUTPUTS, learning_rate=0.02),
    "flow": partial(flow.prepare, outputs=OUTPUTS, control=CONTROL, decay=(0.0, 0.1)),
    "time scales": partial(time_scales.prepare, scales=SCALES, fraction=0.9),
}
DISPATCHED = {
    "closed form": partial(dispatch.prepare_closed_form, outputs=OUTPUTS),
    "gradient descent": partial(dispatch.prepare_gradient_descent, outputs=OUTPUTS, learning_rate=0.02),
    "flow": partial(dispatch.prepare_flow, outputs=OUTPUTS, control=CONTROL, decay=(0.0, 0.1)),
    "time scales": partial(dispatch.prepare_time_scales, scales=SCALES, fraction=0.9),
}
RECORDED_AT = {"gradient descent": STEPS, "time scales": np.empty(0)}


def run(prepare, sizes, records, lams, times, paired=False, **options):
    """Return the outputs (R, P, T), the status (P,) and, for the flow, the steps (P,)."""
    rows = (prepare.keywords | options).get("scales", OUTPUTS)
    batch = empty_batch(records, lams, times, len(rows), paired)
    batch.outputs.fill(np.nan)
    call = prepare(sizes=sizes, batch=batch, **options)
    call()
    last = call.arguments[-1]  # the steps of the flow
    steps = last if isinstance(last, np.ndarray) and last.dtype == np.int64 else np.empty(0)
    return batch.outputs[:, : batch.points], batch.status[: batch.points], steps


def pairs(records, kappas=1):
    """Return indices of points: any pairs, repeated or not."""
    return st.lists(
        st.tuples(st.integers(0, records - 1), st.integers(0, LAMS.size - 1), st.integers(0, kappas - 1)),
        min_size=1,
        max_size=21,
    ).map(lambda chosen: np.array(chosen).T)


def assert_pairs_of_product(prepare, sizes, records, times, chosen, **options):
    seed, lam, _ = chosen
    product = run(prepare, sizes, records, LAMS, times, **options)
    paired = run(prepare, sizes, records[seed], LAMS[lam], times, paired=True, **options)
    place = seed * LAMS.size + lam
    for whole, some in zip(product, paired, strict=True):
        expected = whole[..., place, :] if whole.ndim == 3 else whole[place] if whole.size else whole
        assert np.array_equal(some, expected)
    assert (paired[1] == Status.OK).all()


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("step", DISPATCHED)
@given(chosen=pairs(SEEDS.size))
@settings(max_examples=8)
def test_pairs_have_the_bits_of_the_product(step, sizes, chosen):
    records = draw_records(sizes, SEEDS, problem("gaussian", 14, 1.5, 0.7))
    assert_pairs_of_product(DISPATCHED[step], sizes, records, RECORDED_AT.get(step, TIMES), chosen)


@pytest.mark.parametrize("step", BLAS)
@given(chosen=pairs(SEEDS.size))
@settings(max_examples=8)
def test_pairs_have_the_bits_of_the_product_on_blas(step, chosen):
    sizes = SIZES["narrow"]
    records = draw_records(sizes, SEEDS, problem("gaussian", 14, 1.5, 0.7))
    options = {"start": Start.BALANCED, "kappa": 0.0} if step == "flow" else {}
    assert_pairs_of_product(BLAS[step], sizes, records, RECORDED_AT.get(step, TIMES), chosen, **options)


@pytest.mark.parametrize("step", ["gradient descent", "flow"])
def test_pairs_of_raw_starts(step):
    """A raw start has no lam, so that each record is one point."""
    sizes = SIZES["narrow"]
    records = draw_raw_records(sizes, np.arange(11), problem("he", 14, 1.5, 0.7))
    times, options = RECORDED_AT.get(step, TIMES), {"start": Start.RAW}
    product = run(DISPATCHED[step], sizes, records, np.zeros(1), times, **options)
    paired = run(DISPATCHED[step], sizes, records, np.zeros(11), times, paired=True, **options)
    assert all(map(np.array_equal, product, paired))


KAPPA_STEPS = {name: (prepare, {}) for name, prepare in DISPATCHED.items()}
KAPPA_STEPS["gradient descent"] = DISPATCHED["gradient descent"], {"start": Start.TWO_SIDED}
KAPPA_STEPS["flow"] = DISPATCHED["flow"], {"start": Start.TWO_SIDED}
KAPPA_STEPS["time scales"] = DISPATCHED["time scales"], {"scales": (Scale.CONVERGENCE,)}
KAPPA_STEPS["closed form on BLAS"] = partial(two_sided_dynamics.prepare_closed_form, outputs=OUTPUTS), {}
KAPPA_STEPS["gradient descent on BLAS"] = BLAS["gradient descent"], {"start": Start.TWO_SIDED}
KAPPA_STEPS["flow on BLAS"] = BLAS["flow"], {"start": Start.TWO_SIDED}


@pytest.mark.parametrize("step", KAPPA_STEPS)
@given(chosen=pairs(SEEDS.size, KAPPAS.size))
@settings(max_examples=6)
def test_pairs_have_a_kappa_each(step, chosen):
    seed, lam, kappa = chosen
    prepare, options = KAPPA_STEPS[step]
    # Kernels of two-sided starts on BLAS take sizes that have Q of full rank.
    sizes = WITH_KAPPA.unreduced if step.endswith("BLAS") and "start" in options else WITH_KAPPA
    records = draw_records(WITH_KAPPA, SEEDS, problem("gaussian", 14, 1.5, 0.7))
    times = RECORDED_AT.get(step.removesuffix(" on BLAS"), TIMES)
    products = [run(prepare, sizes, records, LAMS, times, kappa=value, **options) for value in KAPPAS]
    paired = run(prepare, sizes, records[seed], LAMS[lam], times, paired=True, kappa=KAPPAS[kappa], **options)
    for point, (value, place) in enumerate(zip(kappa, seed * LAMS.size + lam, strict=True)):
        out, status, steps = products[value]
        assert np.array_equal(paired[0][:, point], out[:, place])
        assert paired[1][point] == status[place] == Status.OK
        assert not steps.size or paired[2][point] == steps[place]


@given(chosen=pairs(SEEDS.size, KAPPAS.size))
def test_starts_of_pairs(chosen):
    seed, lam, kappa = chosen
    records = draw_records(WITH_KAPPA, SEEDS, problem("gaussian", 14, 1.5, 0.7))
    for start, values in ((Start.BALANCED, np.zeros(2)), (Start.TWO_SIDED, KAPPAS)):
        products = np.stack([starts(WITH_KAPPA, records, LAMS, start, value) for value in values])
        paired = starts(WITH_KAPPA, records[seed], LAMS[lam], start, values[kappa], paired=True)
        assert np.array_equal(paired, products[kappa, seed, lam])
    raw = draw_raw_records(WITH_KAPPA, SEEDS, problem("he", 14, 1.5, 0.7))
    product = starts(WITH_KAPPA, raw, LAMS[:1], Start.RAW, 0.0)
    assert np.array_equal(
        starts(WITH_KAPPA, raw[seed], LAMS[lam], Start.RAW, 0.0, paired=True), product[seed, 0]
    )


@pytest.mark.parametrize("solver", [EXACT, GRADIENT_DESCENT, FLOW], ids=lambda solver: solver.name)
def test_solvers_take_pairs(solver):
    records = draw_records(WITH_KAPPA, SEEDS, problem("gaussian", 14, 1.5, 0.7))
    given = Settings(start=Start.TWO_SIDED, kappa=KAPPAS[1], learning_rate=0.05)
    product = solver.run(WITH_KAPPA, OUTPUTS, Points(records, LAMS, TIMES, given), False)
    points = Points(records, LAMS[:3], TIMES, given._replace(kappa=0.3), True, np.full(3, KAPPAS[1]))
    paired = solver.run(WITH_KAPPA, OUTPUTS, points, False)
    place = np.arange(3) * LAMS.size + np.arange(3)
    assert np.array_equal(paired.outputs[:, :3], product.outputs[:, place])
    assert paired.points == 3


@pytest.mark.parametrize("sizes", [*SIZES.values(), Sizes(90, 2, 90)], ids=[*SIZES, "by LAPACK"])
@pytest.mark.parametrize("kind", ["gaussian", "zero_output", "aligned", "random_regression"])
def test_each_record_has_its_init_scale(sizes, kind):
    """The seeds and scales repeat, next to each other and apart."""
    scales = np.array([0.3, 0.3, 1.0, 0.7, 0.3, 1e-3, 1e-3])
    seeds = np.array([5, 5, 5, 2**63 - 1, 5, 0, 0])
    samples = max(14, sizes.n_i)
    draws = (draw_records, draw_raw_records) if kind in ("gaussian", "zero_output") else (draw_records,)
    for draw in draws:
        drawn = draw(sizes, seeds, problem(kind, samples, 1.5, 9.0), init_scales=scales)
        for record, seed, scale in zip(drawn, seeds, scales, strict=True):
            (expected,) = draw(sizes, np.array([seed]), problem(kind, samples, 1.5, float(scale)))
            assert np.array_equal(record, expected)


def test_lengths_must_agree():
    sizes = SIZES["narrow"]
    records = draw_records(sizes, SEEDS, problem("gaussian", 14, 1.5, 0.7))
    batch = empty_batch(records, LAMS, TIMES, 2, paired=True)
    with pytest.raises(ValueError, match="has 3 records, but 4 lam"):
        dispatch.closed_form(sizes, OUTPUTS, batch)
    with pytest.raises(
        ValueError, match=r"kappa has the shape \(2,\), but the batch of 12 points is not paired"
    ):
        kappas_of(batch._replace(paired=False), KAPPAS)
    with pytest.raises(ValueError, match="kappa is 0 for some points and above for others"):
        dispatch.closed_form(sizes, OUTPUTS, batch._replace(lam=LAMS[:3]), kappa=np.array([0.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match=r"there are 3 seeds, but init_scales has the shape \(2,\)"):
        draw_records(sizes, SEEDS, problem("gaussian", 14, 1.5, 0.7), init_scales=np.ones(2))
