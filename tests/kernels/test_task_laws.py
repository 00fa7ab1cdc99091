"""Laws of structured tasks: their statistics, and what they depend on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlin.kernels.random import Stream
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.task_laws import (
    AutoencoderTask,
    HierarchyTask,
    Spectrum,
    SpectrumTask,
    StudentTeacherTask,
    random_frames,
)

SEEDS = st.integers(0, 2**63 - 1)
SIZE = st.integers(1, 6)


def singular_values(matrix):
    return np.linalg.svd(matrix, compute_uv=False)


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIZE, SIZE, st.floats(0, 5), st.integers(1, 9), st.integers(1, 9))
def test_a_spectrum_has_its_singular_values_whatever_the_hidden_size(seed, n_i, n_o, power, first, second):
    law, m = SpectrumTask(Spectrum(None, power)), min(n_i, n_o)
    target = law.draw(seed, Sizes(n_i, first, n_o))
    assert np.allclose(singular_values(target.sigma_yx), np.arange(1, m + 1) ** -power, rtol=1e-13)
    assert target.floor == 0.0
    assert target.sigma_xx is None
    assert np.array_equal(law.draw(seed, Sizes(n_i, second, n_o)).sigma_yx, target.sigma_yx)


def test_singular_values_that_are_missing_are_zero():
    target = SpectrumTask(Spectrum((3.0, 1.0), None)).draw(1, Sizes(4, 2, 3))
    assert np.allclose(singular_values(target.sigma_yx), [3, 1, 0], atol=1e-14)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.lists(st.floats(0.01, 9), min_size=1, max_size=5), st.sampled_from([0.0, 0.3, 2.0]))
def test_an_autoencoder_has_its_eigenvalues_and_floor(seed, values, noise):
    law, n = AutoencoderTask(Spectrum(tuple(sorted(values)[::-1]), None), noise), len(values)
    target = law.draw(seed, Sizes(n, 2, n))
    clean = target.sigma_yx
    inputs = np.eye(n) if target.sigma_xx is None else target.sigma_xx
    assert np.array_equal(clean, clean.T)
    assert np.allclose(np.linalg.eigvalsh(clean), sorted(values), atol=1e-12)
    assert np.allclose(inputs, clean + noise * np.eye(n), atol=1e-12)
    floor = np.trace(clean) - np.sum(clean * (np.linalg.pinv(inputs, hermitian=True) @ clean))
    assert target.floor == pytest.approx(floor / 2, abs=1e-11)


@pytest.mark.parametrize(
    ("spectrum", "noise", "white"),
    [
        (Spectrum((1.0, 1.0), None), 0.0, True),
        (Spectrum((0.75, 0.75), None), 0.25, True),
        (Spectrum((0.75, 0.75), None), 0.0, False),
        (Spectrum((2.0, 1.0), None), 0.0, False),
        (Spectrum(None, 0.0), 0.0, True),
        (Spectrum(None, 1.0), 0.0, False),
    ],
)
def test_an_autoencoder_is_white_where_its_inputs_are(spectrum, noise, white):
    law = AutoencoderTask(spectrum, noise)
    assert law.white == white
    target = law.draw(3, Sizes(2, 2, 2))
    assert (target.sigma_xx is None) == white
    if white:
        assert np.allclose(target.sigma_yx, (1 - noise) * np.eye(2), atol=1e-15)


def test_a_teacher_without_noise_has_its_rank_and_with_noise_its_moments():
    """The entries of Sigma_yx deviate by noise / sqrt(P), and the floor by noise^2 N_o (P - N_i) / (2 P)."""
    sizes, seeds = Sizes(4, 3, 5), range(400)
    law = StudentTeacherTask(2, 0.0, 20, (3.0, 1.0))
    assert np.allclose(singular_values(law.draw(0, sizes).sigma_yx), [3, 1, 0, 0], atol=1e-14)
    assert law.draw(0, sizes).floor == 0.0
    noisy = StudentTeacherTask(2, 0.6, 20, (3.0, 1.0))
    draws = [noisy.draw(seed, sizes) for seed in seeds]
    parts = np.array(
        [draw.sigma_yx - law.draw(seed, sizes).sigma_yx for seed, draw in zip(seeds, draws, strict=True)]
    )
    entries = parts.size
    assert np.mean(parts**2) == pytest.approx(0.36 / 20, rel=4 * np.sqrt(2 / entries))
    assert abs(np.mean(parts)) < 4 * 0.6 / np.sqrt(20 * entries)
    freedom = 5 * (20 - 4)
    floors = [draw.floor for draw in draws]
    assert np.mean(floors) == pytest.approx(0.36 * freedom / 40, rel=4 * np.sqrt(2 / (freedom * len(seeds))))


def test_one_singular_value_holds_for_all_modes_of_a_teacher():
    target = StudentTeacherTask(3, 0.0, 9, (2.0,)).draw(4, Sizes(4, 1, 3))
    assert np.allclose(singular_values(target.sigma_yx), 2.0, rtol=1e-14)


def test_frames_are_uniform():
    """Entries of uniform orthonormal columns have mean 0, variance 1/n, and fourth moment 3 / (n (n + 2))."""
    drawn = [random_frames(Stream.SPECTRUM, seed, Sizes(4, 0, 3), 2, 4, 3)[0] for seed in range(4000)]
    frames = np.array(drawn)
    assert np.allclose(np.swapaxes(frames, 1, 2) @ frames, np.eye(2), atol=1e-14)
    assert np.abs(frames.mean(axis=0)).max() < 4.5 / np.sqrt(4 * 4000)
    assert np.abs(np.mean(frames**2, axis=0) - 0.25).max() < 4.5 * np.sqrt(1 / 16 / 4000)
    assert np.abs(np.mean(frames**4, axis=0) - 0.125).max() < 4.5 * 0.22 / np.sqrt(4000)


def test_a_hierarchy_has_orthogonal_properties():
    for levels in (1, 2, 4):
        target = HierarchyTask(levels).draw(7, Sizes(2**levels, 3, 2**levels)).sigma_yx
        leaves = [2**levels, *(2**levels >> level for level in range(levels) for _ in range(2**level))]
        assert np.allclose(target @ target.T, np.diag(leaves) / 2**levels, atol=1e-15)


def test_kinds_share_no_numbers():
    sizes = Sizes(4, 0, 4)
    frames = [
        random_frames(kind, 3, sizes, 4, 4)[0]
        for kind in (Stream.TEACHER, Stream.SPECTRUM, Stream.AUTOENCODER)
    ]
    assert all(np.abs(a - b).max() > 0.1 for a in frames for b in frames if a is not b)
