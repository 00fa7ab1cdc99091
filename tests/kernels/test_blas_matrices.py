"""Triangles of large matrices, from QR decompositions in compiled code."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from fastlin.kernels.blas.matrices import BLOCK, triangularise
from fastlin.kernels.blas.workspace import evolving
from fastlin.kernels.sizes import Sizes


@njit
def run_triangularise(columns, n, triangle, below, scratch):
    return triangularise(columns, n, triangle, below, scratch)


@given(
    sizes=st.builds(Sizes, st.integers(1, 14), st.integers(1, 20), st.integers(1, 14)),
    seed=st.integers(0, 10**6),
)
def test_a_triangle_is_that_of_a_qr_decomposition(sizes, seed):
    """It stays within its room, which every network has."""
    rng, columns = np.random.default_rng(seed), sizes.width
    diagonal, below = rng.uniform(0.0, 1.0, columns), rng.normal(size=(columns, sizes.n))
    gram = np.diag(diagonal**2) + below @ below.T
    scratch, room = evolving(sizes).scratch, 2 * BLOCK * (1 + BLOCK + columns)
    assert room <= scratch.size
    scratch[:], triangle = np.nan, np.diag(diagonal).ravel()
    assert run_triangularise(columns, sizes.n, triangle, below, scratch)
    assert np.isnan(scratch[room:]).all()
    upper = np.tril(triangle.reshape(columns, columns))  # a column of R is a row here
    np.testing.assert_allclose(upper @ upper.T, gram, rtol=0, atol=1e-13 * gram.max())


def test_a_column_of_zeros_is_said():
    triangle, below = np.diag([1.0, 0.0, 1.0]).ravel(), np.zeros((3, 4))
    assert not run_triangularise(3, 4, triangle, below, np.empty(2 * BLOCK * (1 + BLOCK + 3)))
