"""Both forms of a kernel give the same bits, and one form serves all architectures of a width."""

import numpy as np
import pytest

from fastlin.kernels import Output, Scale, Sizes, dispatch, draw_records, empty_batch
from fastlin.kernels.vector import closed_form, gradient_descent, problems, time_scales
from tests.campaign import trials
from tests.networks import problem

OUTPUTS, SCALES = tuple(map(int, Output)), tuple(map(int, Scale))
LAMS = np.array([-7.0, 0.0, 0.4])
TIMES = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 90.0, np.inf])
STEPS = np.array([0, 3, 200])
SEEDS = np.arange(4)


def results(shape, kind, specialise):
    """Return all outputs of the kernels for an architecture, as bytes by name."""
    sizes = Sizes(*shape)
    records = draw_records(sizes, SEEDS, problem(kind, max(9, shape[0]), 1.5, 0.7), specialise=specialise)
    runs = {
        "closed form": (dispatch.closed_form, OUTPUTS, TIMES),
        "gradient descent": (dispatch.gradient_descent, OUTPUTS, STEPS, 0.01),
        "time scales": (dispatch.time_scales, SCALES, np.empty(0), 0.5),
    }
    computed = {"records": records.tobytes()}
    for name, (kernel, outputs, times, *rest) in runs.items():
        batch = empty_batch(records, LAMS, times, len(outputs))
        kernel(sizes, outputs, batch, *rest, specialise=specialise)
        points = SEEDS.size * LAMS.size
        computed[name] = batch.outputs[:, :points].tobytes() + batch.status[:points].tobytes()
    return computed


@trials(1, 300)
def test_both_forms_give_the_same_bits(trials):
    rng = np.random.default_rng(12)
    for trial in range(trials):
        shape = tuple(rng.integers(1, 41 if trial % 2 else 9, 3).tolist())
        kind = ("gaussian", "random_regression", "aligned")[trial % 3]
        loaded, specialised = (results(shape, kind, specialise) for specialise in (False, True))
        for name, content in loaded.items():
            assert content == specialised[name], (shape, kind, name)


COMPILED = {
    "set-up": problems._set_up,
    "closed form": closed_form._closed_form,
    "gradient descent": gradient_descent._gradient_descent,
    "time scales": time_scales._time_scales,
    "follow": closed_form._follow,
}


def count_compiled():
    """Return the number of kernels of each kind that this process has compiled or loaded."""
    return {name: len(function.signatures) for name, function in COMPILED.items()}


@pytest.mark.parametrize("width", [3, 9])
def test_one_kernel_serves_all_architectures_of_a_width(width):
    first = [(width, width, width), (width + 2, width, 7 + width), (40, width, 2)]
    results(first[0], "gaussian", False)
    before = count_compiled()
    for shape in [(width, width + 5, width - 1), (width + 7, width, width), (31, width, width + 1)]:
        results(shape, "gaussian", False)
    assert count_compiled() == before


def test_one_kernel_serves_all_wide_architectures():
    results((11, 12, 13), "gaussian", False)
    before = count_compiled()
    for shape in [(9, 9, 9), (30, 20, 10), (14, 32, 25)]:
        results(shape, "gaussian", False)
    assert count_compiled() == before
