"""What kernels are compiled for, as Numba types: the sizes of a network, and the rows it is observed by."""

from dataclasses import dataclass
from typing import Any

from numba.core import types
from numba.extending import NativeValue, models, register_model, typeof_impl, unbox

from fastlin.kernels.codes import Row, Scale

WIDTH = 8  # networks to a vector


@dataclass(frozen=True, order=True)
class Sizes:
    """N_i, N_h, N_o, and what the kernels derive from them."""

    n_i: int
    n_h: int
    n_o: int

    @property
    def m(self) -> int:
        """Rank of the richest map: min(N_i, N_o)."""
        return min(self.n_i, self.n_o)

    @property
    def k_i(self) -> int:
        """Hidden directions that the inputs can reach."""
        return min(self.n_h, self.n_i)

    @property
    def k_o(self) -> int:
        """Hidden directions that the outputs can reach."""
        return min(self.n_h, self.n_o)

    @property
    def k(self) -> int:
        """Rank of the map of the network: min(N_i, N_h, N_o)."""
        return min(self.k_i, self.k_o)

    @property
    def width(self) -> int:
        """Columns of Q that are not 0 in the hidden basis of Algorithm 1."""
        return max(self.k_i, self.k_o)

    @property
    def rows_i(self) -> int:
        """Dimensions of the inputs that matter: the m of the task and those that the start reaches beyond.

        The flow treats all directions of the inputs that the task has no use for alike, so they may be
        rotated until only k_i of them carry weights. The same holds for outputs.
        """
        return min(self.n_i, self.m + self.k_i)

    @property
    def rows_o(self) -> int:
        """Dimensions of the outputs that matter."""
        return min(self.n_o, self.m + self.k_o)

    @property
    def n(self) -> int:
        """Rows of Q that matter."""
        return self.rows_i + self.rows_o

    @property
    def wide(self) -> int:
        """The wider side of a map: max(N_i, N_o)."""
        return max(self.n_i, self.n_o)

    @property
    def k_wide(self) -> int:
        """Hidden directions that it can reach."""
        return min(self.n_h, self.wide)

    @property
    def wide_is_outputs(self) -> bool:
        """Which side that is."""
        return self.n_o >= self.n_i

    @property
    def large(self) -> int:
        """The wider side of the map, in rows that matter."""
        return max(self.rows_i, self.rows_o)

    @property
    def small(self) -> int:
        """The other side."""
        return min(self.rows_i, self.rows_o)

    @property
    def outputs(self) -> int:
        """Rows that may be observed."""
        return len(Row)

    @property
    def scales(self) -> int:
        """Time scales that may be asked for."""
        return len(Scale)

    @property
    def lanes(self) -> int:
        """Times that are written at once."""
        return WIDTH

    @property
    def norms(self) -> int:
        """Norms of the start that are compared with."""
        return 3

    @property
    def twice(self) -> int:
        """Two numbers for each."""
        return 2

    @property
    def fits_lanes(self) -> bool:
        """Whether the closed form takes eight networks at a time; larger ones go by BLAS, one at a time.

        Measured, in us per time of a grid and per late time, lanes and BLAS: (20, 20, 20) 8.1 and 13.3, 11.3
        and 22.0; (28, 28, 28) 24.7 and 24.8, 31.4 and 40.9; (32, 32, 32) 36.9 and 30.0, 48.8 and 47.4;
        (100, 20, 100) 46 and 38, 62 and 70; (250, 8, 250) 42 and 27, 55 and 54.
        """
        return self.width <= 28 and self.rows_i * self.rows_o * self.width <= 200_000

    @property
    def fits_lanes_to_descend(self) -> bool:
        """Whether gradient descent takes eight networks at a time.

        Its products are all large, so that BLAS catches up sooner, but not where a row fits the registers.
        Measured, in us per step: (9, 9, 9) 0.25 and 0.62; (16, 16, 16) 1.09 and 1.19; (20, 20, 20) 2.29 and
        2.21; (32, 32, 32) 11.4 and 4.8; (100, 12, 100) 3.7 and 4.4; (100, 16, 100) 8.5 and 7.1;
        (300, 8, 300) 3.5 and 7.3; (500, 4, 500) 3.0 and 14.
        """
        if self.unrolled:
            return self.n * self.width <= 8192
        return self.width <= 20 and self.n * self.width <= 2560

    @property
    def fits_setup(self) -> bool:
        """Whether problems are drawn and factorised eight at a time; larger ones by LAPACK one at a time.

        Measured: lanes take 0.29 ms for (48, 8, 48) and LAPACK 0.43, for (80, 8, 80) 1.5 and 0.94, and for
        (200, 10, 200) 26 and 6.
        """
        return self.wide * self.m * max(self.m, self.k_wide) <= 200_000

    @property
    def unrolled(self) -> bool:
        """Whether the hidden columns of a row are worked on in registers; else in loops."""
        return self.width <= 8


@dataclass(frozen=True)
class Given(Sizes):
    """Sizes of a network whose weights are given: any hidden direction may reach any unit."""

    @property
    def k_i(self) -> int:
        """All hidden directions."""
        return self.n_h

    k_o = k_i

    @property
    def rows_i(self) -> int:
        """All inputs."""
        return self.n_i

    @property
    def rows_o(self) -> int:
        """All outputs."""
        return self.n_o


class Record:
    """Where the numbers of a problem stand in its record: all that a start needs and lam does not change."""

    def __init__(self, sizes: Sizes) -> None:
        self.s = 0  # (m,) singular values of Sigma_yx, descending
        self.p = self.s + sizes.m  # (k,) singular values of the unbalanced product W2 W1, descending
        self.floor = self.p + sizes.k  # (tr Sigma_yy - |Sigma_yx|^2) / 2, the least loss of a linear map
        self.v = self.floor + 1  # (rows_i, k_i) V^T v: right singular vectors of the product, in the task's
        self.u = self.v + sizes.rows_i * sizes.k_i  # (rows_o, k_o) U^T u: the left ones
        self.length = self.u + sizes.rows_o * sizes.k_o


@dataclass(frozen=True)
class Known:
    """A value that is known on compilation, such as the rows that a kernel is to write."""

    value: Any


class Static(types.Type):
    """The type of a value that is known on compilation: the value is part of the type."""

    def __init__(self, value: Any) -> None:
        self.value = value
        super().__init__(name=repr(value))


register_model(Static)(models.OpaqueModel)


@typeof_impl.register(Sizes)
def _typeof_sizes(value: Sizes, _context: Any) -> Static:
    return Static(Sizes(value.n_i, value.n_h, value.n_o))


@typeof_impl.register(Given)
def _typeof_given(value: Given, _context: Any) -> Static:
    return Static(value)


@typeof_impl.register(Known)
def _typeof_known(known: Known, _context: Any) -> Static:
    return Static(known.value)


@unbox(Static)  # type: ignore[untyped-decorator]
def _unbox(_kind: Any, _value: Any, context: Any) -> NativeValue:
    return NativeValue(context.context.get_dummy_value())
