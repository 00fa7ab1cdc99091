"""The sizes of a network, and the numbers that kernels derive from them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.codes import Output, Scale, Start

WIDEST_UNROLLED = 8  # hidden columns of a row that fit the registers


def least(one: int, other: int) -> int:
    """Return the smaller of two sizes, or of arrays of sizes."""
    smaller: int = min(one, other) if isinstance(other, int) else np.minimum(one, other)
    return smaller


def greatest(one: int, other: int) -> int:
    """Return the larger of two sizes, or of arrays of sizes."""
    larger: int = max(one, other) if isinstance(other, int) else np.maximum(one, other)
    return larger


@dataclass(frozen=True, order=True)
class Sizes:
    """N_i, N_h, N_o, and the numbers that kernels derive from them.

    `WHOLE`, `COUNTS` and `FLAGS` name the attributes that traced functions may use. They are constants of the
    compiled code, or are loaded from a table when it runs (see `fastlin.kernels.vector.forms`).
    """

    n_i: int
    n_h: int
    n_o: int

    @cached_property
    def m(self) -> int:
        """Largest rank of a map: min(N_i, N_o)."""
        return least(self.n_i, self.n_o)

    @cached_property
    def k_i(self) -> int:
        """Hidden directions that the inputs can reach."""
        return least(self.n_h, self.n_i)

    @cached_property
    def k_o(self) -> int:
        """Hidden directions that the outputs can reach."""
        return least(self.n_h, self.n_o)

    @cached_property
    def k(self) -> int:
        """Rank of the map of the network: min(N_i, N_h, N_o)."""
        return least(self.k_i, self.k_o)

    @cached_property
    def width(self) -> int:
        """Columns of Q that are not 0 in the hidden basis of Algorithm 1."""
        return greatest(self.k_i, self.k_o)

    @cached_property
    def rows_i(self) -> int:
        """Dimensions of the inputs that matter: m of the task, and those beyond that the start reaches.

        The flow treats all input directions outside the task alike, so they may be rotated until only k_i
        of them carry weights. The same holds for outputs.
        """
        return least(self.n_i, self.m + self.k_i)

    @cached_property
    def rows_o(self) -> int:
        """Dimensions of the outputs that matter."""
        return least(self.n_o, self.m + self.k_o)

    @cached_property
    def n(self) -> int:
        """Rows of Q that matter."""
        return self.rows_i + self.rows_o

    @cached_property
    def units(self) -> int:
        """Rows of Q: N_i + N_o."""
        return self.n_i + self.n_o

    @cached_property
    def wide(self) -> int:
        """The wider side of a map: max(N_i, N_o)."""
        return greatest(self.n_i, self.n_o)

    @cached_property
    def k_wide(self) -> int:
        """Hidden directions that the wider side can reach."""
        return least(self.n_h, self.wide)

    @cached_property
    def large(self) -> int:
        """The wider side of the map, in rows that matter."""
        return greatest(self.rows_i, self.rows_o)

    @cached_property
    def small(self) -> int:
        """The narrower side of the map, in rows that matter."""
        return least(self.rows_i, self.rows_o)

    @cached_property
    def kept(self) -> int:
        """Singular vectors of a map that the hidden layer reaches."""
        return least(self.m, self.k_wide)

    @cached_property
    def reached(self) -> int:
        """Modes of the task that the hidden layer can carry: min(N_h, m)."""
        return least(self.n_h, self.m)

    @cached_property
    def outside_shift(self) -> int:
        """Difference between the unit of an eigen-direction outside the planes and its index."""
        return 0 if self.n_i > self.n_o else self.rows_i

    @cached_property
    def slowest_dropped(self) -> int:
        """Number of planes whose shrinking direction is dropped by a network of N_h units."""
        return greatest(0, least(self.m, self.units - self.n_h))

    @cached_property
    def has_two_sided(self) -> bool:
        """Whether networks of two-sided balance, kappa > 0, exist: they have Q of full rank N."""
        return self.n_h >= self.units

    @property
    def unreduced(self) -> "UnreducedSizes":
        """Sizes of any start of the network: all rows, and at most N hidden units.

        ``Q^T = (orthonormal) R`` leaves at most N of them, and the flow acts on Q from the left.
        """
        return UnreducedSizes(self.n_i, least(self.n_h, self.units), self.n_o)

    def followed(self, start: Start) -> "Sizes":
        """Return the sizes of Q that a kernel follows from a kind of start."""
        return self if start == Start.BALANCED else self.unreduced

    @property
    def two_sided(self) -> "TwoSidedSizes":
        """Sizes of a start with kappa > 0, whose `Record` is that of the network. N_h is at least N."""
        return TwoSidedSizes(self.n_i, self.units, self.n_o)

    @cached_property
    def outputs_wide(self) -> bool:
        """Whether the outputs are the wider side of a map."""
        return self.n_o >= self.n_i

    @cached_property
    def more_outputs(self) -> bool:
        """Whether the eigen-directions outside the planes are outputs."""
        return self.n_o > self.n_i

    @cached_property
    def more_rows_o(self) -> bool:
        """Whether the outputs are the wider side of the map, in rows that matter."""
        return self.rows_o >= self.rows_i

    @cached_property
    def outside(self) -> bool:
        """Whether there are eigen-directions outside the planes, among the rows that matter."""
        return self.n > 2 * self.m

    @cached_property
    def square(self) -> bool:
        """Whether a map has as many outputs as inputs."""
        return self.wide == self.m

    @cached_property
    def loose(self) -> bool:
        """Whether the wider side has more directions beyond the task than the hidden layer reaches."""
        return self.wide - self.m > self.k_wide

    @cached_property
    def completed(self) -> bool:
        """Whether the hidden layer reaches more directions of the wider side than a map has."""
        return self.k_wide > self.m

    @cached_property
    def thin(self) -> bool:
        """Whether a product of weights has less than full rank."""
        return self.n_h < self.m

    @cached_property
    def drops_outside(self) -> bool:
        """Whether a network of N_h units drops a direction outside the planes, which then exist."""
        return self.n_h < self.wide and self.wide > self.m

    @cached_property
    def keeps_outside(self) -> bool:
        """Whether a network of N_h units keeps a direction outside the planes, which then exist."""
        return self.n_h > self.m and self.wide > self.m

    @cached_property
    def drops_shrinking(self) -> bool:
        """Whether a network of N_h units drops a direction of a plane that shrinks."""
        return self.slowest_dropped > 0

    @cached_property
    def unrolled(self) -> bool:
        """Whether the hidden columns of a row stay in registers instead of loops."""
        return self.width <= WIDEST_UNROLLED

    @cached_property
    def fits_lanes(self) -> bool:
        """Whether the closed form takes eight networks at a time. Larger networks use BLAS.

        Measured, in us per time of a grid and per late time, lanes and BLAS: (20, 20, 20) 5.2 and 11.8, 7.8
        and 18.1; (28, 28, 28) 14.1 and 22.7, 25.9 and 35.9; (40, 40, 40) 43 and 47, 77 and 68; (48, 48, 48)
        80 and 69, 152 and 101; (80, 12, 80) 25 and 23, 28 and 29; (100, 12, 100) 29 and 18, 39 and 35;
        (250, 8, 250) 73 and 24, 86 and 50. A start costs more by BLAS: with one late time (100, 10, 100)
        takes 23 and 77.
        """
        fits: bool = (self.width <= 40) & (self.rows_i * self.rows_o * self.width <= 100_000)
        return fits

    @cached_property
    def fits_lanes_to_descend(self) -> bool:
        """Whether gradient descent takes eight networks at a time.

        Measured, in us per step, lanes and BLAS: (9, 9, 9) 0.1 and 0.6; (20, 20, 20) 1.0 and 2.0;
        (40, 40, 40) 7.2 and 9.1; (48, 48, 48) 13.0 and 13.3; (100, 16, 100) 3.5 and 4.5; (100, 32, 100) 13.7
        and 14.2; (250, 12, 250) 6.4 and 12.2; (300, 16, 300) 12.6 and 14.1; (500, 4, 500) 3.0 and 14.
        The flow has the same limit: a step takes 20 and 90 for (20, 20, 20), 107 and 278 for (30, 40, 30).
        """
        fits: bool = (self.width <= 40) & (self.n * self.width <= 8192)
        return fits

    def descends_in_lanes(self, start: Start) -> bool:
        """Return whether gradient descent and the flow from a kind of start take eight networks at a time.

        Inputs that are not whitened have a dense target. Measured, in us per step of the flow, lanes and
        BLAS: (20, 20, 20) 50 and 220, (60, 20, 60) 610 and 1010, (100, 8, 100) 920 and 1050.
        """
        dense = self.n_i * self.n_o * self.width if start == Start.INPUTS else 0
        return bool(self.fits_lanes_to_descend) and dense <= 100_000

    @cached_property
    def fits_setup(self) -> bool:
        """Whether problems are set up eight at a time. Larger networks go through LAPACK one at a time.

        Measured: lanes take 0.29 ms for (48, 8, 48) and LAPACK 0.43, for (80, 8, 80) 1.5 and 0.94, and for
        (200, 10, 200) 26 and 6.
        """
        return self.wide * self.m * greatest(self.m, self.k_wide) <= 200_000

    @cached_property
    def fits_raw_setup(self) -> bool:
        """Whether records of raw weights are made eight at a time.

        Measured, in ms with lanes and with LAPACK: (8, 1000, 8) 0.24 and 1.3, (20, 300, 20) 0.25 and 0.95,
        (40, 1000, 40) 7.6 and 16. The limit of N_h N keeps the memory of a vector below 20 MB.
        """
        fits: bool = self.fits_setup & (self.n_h * self.units <= 100_000)
        return fits

    def fits_vectors(self, step: str) -> bool:
        """Return whether a step of the work takes eight networks at a time, and so does without BLAS."""
        if step in ("set_up", "raw_set_up"):
            return self.fits_setup if step == "set_up" else self.fits_raw_setup
        return self.fits_lanes_to_descend if step in ("gradient_descent", "flow") else self.fits_lanes

    # Sizes of arrays that do not depend on the network.
    outputs = len(Output)
    scales = len(Scale)
    times_at_once = 8  # times that are written together, as one vector of doubles for each network
    norms = 3  # of the start: |W1|^2, |W2|^2 and that of the NTK
    twice = 2
    slots = 11  # rows of the flow that are kept for each row of Q: its state and the derivatives of a step


# Names of the numbers in a table of sizes. Counts are at least 1, whole numbers at least 0.
COUNTS = ("n_i", "n_h", "n_o", "m", "k_i", "k_o", "k", "width", "rows_i", "rows_o", "n", "units", "wide",
          "k_wide", "large", "small", "kept", "reached")  # fmt: skip
WHOLE = ("outside_shift", "slowest_dropped")
FLAGS = ("outputs_wide", "more_outputs", "more_rows_o", "outside", "square", "loose", "completed", "thin",
         "drops_outside", "keeps_outside", "drops_shrinking")  # fmt: skip
CONSTANTS = ("outputs", "scales", "times_at_once", "norms", "twice", "slots")


@dataclass(frozen=True)
class UnreducedSizes(Sizes):
    """Sizes of a network whose weights are given, where any hidden direction may reach any unit."""

    @cached_property
    def k_i(self) -> int:
        """All hidden directions."""
        return self.n_h

    @cached_property
    def k_o(self) -> int:
        """All hidden directions."""
        return self.n_h

    @cached_property
    def rows_i(self) -> int:
        """All inputs."""
        return self.n_i

    @cached_property
    def rows_o(self) -> int:
        """All outputs."""
        return self.n_o


@dataclass(frozen=True)
class TwoSidedSizes(Sizes):
    """Sizes of a network with kappa > 0, whose Q has rank N."""

    @cached_property
    def width(self) -> int:
        """All N hidden units that ``Q^T = (orthonormal) R`` leaves."""
        return self.units

    @cached_property
    def fits_lanes(self) -> bool:
        """Whether the closed form takes eight networks at a time. Larger networks use BLAS.

        Lanes use that K is a triangle, so they stay ahead as long as the processor's cache holds two vectors,
        of 1.4 N^2 kB. Measured, in us per time, lanes and BLAS: (12, H, 12) 1.1 and 9; (20, H, 20) 5 and 28;
        (32, H, 32) 26 and 69; (48, H, 48) 79 and 162; (80, H, 80) 365 and 546.
        """
        fits: bool = self.width <= 100
        return fits


@dataclass(frozen=True)
class RawSizes(UnreducedSizes):
    """Sizes for the set-up of raw weights: N_h is that of the network, of which the record has at most N.

    `Record` has the same positions for these sizes as for `Sizes.unreduced`.
    """

    @cached_property
    def k_i(self) -> int:
        """Hidden directions of the record."""
        return least(self.n_h, self.units)

    @cached_property
    def k_o(self) -> int:
        """Hidden directions of the record."""
        return least(self.n_h, self.units)


class SizesOfMany(Sizes):
    """Sizes of many networks at once, for estimates. Every size is an array (A,)."""

    def __init__(self, triples: NDArray[np.int64]) -> None:
        for name, values in zip(("n_i", "n_h", "n_o"), triples.T, strict=True):
            object.__setattr__(self, name, values)


class Record:
    """Positions in the record of a problem, which holds all that a start needs for any lam.

    s (m,) are the singular values of Sigma_yx, falling. p (k,) are those of the unbalanced product W2 W1.
    floor is the least loss of a linear map, (tr Sigma_yy - |Sigma_yx|^2) / 2. v (rows_i, k_i) is V^T v, the
    right singular vectors of the product in the basis of those of the task. u (rows_o, k_o) is U^T u, the
    left ones.

    In the record of a raw start, of `Sizes.unreduced`, p is 0, v (N_i, width) is V^T W1^T, and u (N_o, width)
    is U^T W2. V and U are whole bases. If N_h > N, the rows of ``[v, u]`` are those of R^T, where ``Q^T =
    (orthonormal) R`` and the diagonal of R is at least 0.
    """

    def __init__(self, sizes: Sizes) -> None:
        self.s = 0
        self.p = self.s + sizes.m
        self.floor = self.p + sizes.k
        self.v = self.floor + 1
        self.u = self.v + sizes.rows_i * sizes.k_i
        self.length = self.u + sizes.rows_o * sizes.k_o


class InputsRecord:
    """Positions in the record of a problem with inputs that are not whitened, Sigma_xx = V diag(c) V^T.

    sigma (N_o, N_i) is Sigma_yx V. c (N_i,) are at least 0. floor is the least loss of a linear map, and
    total is the sum of the singular values of Sigma_yx. v (N_i, width) is V^T W1^T, and u (N_o, width) is W2,
    in the hidden directions of the record of a raw start. Sizes are those of `Sizes.unreduced`.
    """

    def __init__(self, sizes: Sizes) -> None:
        self.sigma = 0
        self.c = sizes.n_o * sizes.n_i
        self.floor = self.c + sizes.n_i
        self.total = self.floor + 1
        self.v = self.total + 1
        self.u = self.v + sizes.n_i * sizes.width
        self.length = self.u + sizes.n_o * sizes.width
