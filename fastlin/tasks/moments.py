"""Second moments of a task: the kind and the span of its inputs, and the matrix that whitens them."""

from functools import cached_property
from typing import Literal

import numpy as np

from fastlin.kernels.compiler.jit import Array

InputKind = Literal["white", "isotropic", "projector", "general"]

# Bound of |C - c Pi| / c, entry by entry. A whitening in double precision stays well below it.
WHITE_TOLERANCE = 1e-9


class SecondMoments:
    """Sigma_yx (N_o, N_i) and C = Sigma_xx (N_i, N_i), with C = V diag(c) V^T on the span of the inputs."""

    def __init__(self, sigma_yx: Array, sigma_xx: Array) -> None:
        self.sigma_yx, self.sigma_xx = sigma_yx, sigma_xx

    @cached_property
    def kind(self) -> InputKind:
        """The form of C: I, c I, c times a projector, or any other."""
        identity = np.eye(len(self.sigma_xx))
        if np.abs(self.sigma_xx - identity).max() <= WHITE_TOLERANCE:
            return "white"
        if self._is_flat(identity):
            return "isotropic"
        return "projector" if self._is_flat(self.axes) else "general"

    @property
    def variance(self) -> float:
        """The eigenvalue c of C on the span, NaN where it has several."""
        if self.kind in ("white", "general"):
            return 1.0 if self.kind == "white" else float("nan")
        return self._mean_variance(self.rank)

    @property
    def rank(self) -> int:
        """Dimensions of the span of the inputs."""
        return len(self.sigma_xx) if self.kind in ("white", "isotropic") else self.axes.shape[1]

    @property
    def span(self) -> Array:
        """An orthonormal basis (N_i, r) of the span of the inputs, I where they span everything."""
        return np.eye(len(self.sigma_xx)) if self.rank == len(self.sigma_xx) else self.axes

    @property
    def variances(self) -> Array:
        """The eigenvalues c (r,) of C on the span, ascending."""
        return self._principal[0]

    @property
    def axes(self) -> Array:
        """The eigenvectors V (N_i, r) of C on the span."""
        return self._principal[1]

    @property
    def root(self) -> Array:
        """``V diag(c)^(1/2)`` (N_i, r): a root of C."""
        return self.axes * np.sqrt(self.variances)

    @property
    def target(self) -> Array:
        """``Sigma_yx V diag(c)^(-1/2)`` (N_o, r): the map that the loss compares with ``W2 W1 root``."""
        return self.sigma_yx @ self.axes / np.sqrt(self.variances)

    @property
    def whitening(self) -> Array:
        """``C^(+1/2) = V diag(c)^(-1/2) V^T`` (N_i, N_i)."""
        return (self.axes / np.sqrt(self.variances)) @ self.axes.T

    def on_inputs(self, matrix: Array) -> Array:
        """Return ``matrix diag(c)^(-1/2) V^T`` (N_o, N_i): the map of inputs that has the target `matrix`."""
        return np.asarray(matrix / np.sqrt(self.variances) @ self.axes.T)

    @cached_property
    def _principal(self) -> tuple[Array, Array]:
        """The variances and axes of the span.

        The span of a projector is all beyond the tolerance of its entries, if Sigma_yx has nothing off it.
        Otherwise variances count that are no rounding errors: data of an ill-conditioned C learn there too.
        """
        values, axes = np.linalg.eigh(self.sigma_xx)
        flat = _above(values, axes, WHITE_TOLERANCE)
        if self._is_flat(flat[1]):
            return flat
        return _above(values, axes, len(values) * np.finfo(float).eps)

    def _is_flat(self, axes: Array) -> bool:
        """Tell whether C is a multiple of the projector on some axes, and Sigma_yx lies in their span."""
        if axes.shape[1] == 0:
            return False
        projector, variance = axes @ axes.T, self._mean_variance(axes.shape[1])
        off = np.abs(self.sigma_yx - self.sigma_yx @ projector).max()
        return bool(
            variance > 0.0
            and np.abs(self.sigma_xx - variance * projector).max() <= WHITE_TOLERANCE * variance
            and off <= WHITE_TOLERANCE * np.abs(self.sigma_yx).max()
        )

    def _mean_variance(self, rank: int) -> float:
        return float(np.trace(self.sigma_xx) / rank)


def _above(values: Array, axes: Array, part: float) -> tuple[Array, Array]:
    """Return the eigenvalues, ascending, that are above a part of the largest one, and their vectors."""
    dropped = np.count_nonzero(~(values > part * values[-1]))
    return values[dropped:], axes[:, dropped:]
