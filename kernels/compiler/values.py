"""Values of vector code: a `Lane` is one number of each of eight networks.

Their operators write LLVM instructions instead of computing. There is no fast-math: an FMA is used only where
`fma` is called, so bits depend neither on the processor nor on what LLVM inlines. Vectors of eight doubles
are legal on every processor, because LLVM splits them where registers are narrower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from llvmlite import ir

if TYPE_CHECKING:
    from fastlin.kernels.compiler.code import VectorCode

WIDTH = 8  # networks to a vector
DOUBLE, INTEGER, BIT = ir.DoubleType(), ir.IntType(64), ir.IntType(1)
VECTOR, INTEGERS = ir.VectorType(DOUBLE, WIDTH), ir.VectorType(INTEGER, WIDTH)
MASK = ir.VectorType(BIT, WIDTH)

LaneOperand: TypeAlias = "Lane | Index | float"  # a number for all lanes is repeated
IndexOperand: TypeAlias = "Index | int"


class Lane:
    """One number of each of WIDTH networks."""

    __slots__ = ("code", "ir")

    def __init__(self, code: VectorCode, value: ir.Value) -> None:
        self.code, self.ir = code, value

    def __add__(self, other: LaneOperand) -> Lane:
        return Lane(self.code, self.code.builder.fadd(self.ir, self.code.vector(other)))

    def __sub__(self, other: LaneOperand) -> Lane:
        return Lane(self.code, self.code.builder.fsub(self.ir, self.code.vector(other)))

    def __rsub__(self, other: LaneOperand) -> Lane:
        return Lane(self.code, self.code.builder.fsub(self.code.vector(other), self.ir))

    def __mul__(self, other: LaneOperand) -> Lane:
        return Lane(self.code, self.code.builder.fmul(self.ir, self.code.vector(other)))

    def __truediv__(self, other: LaneOperand) -> Lane:
        return Lane(self.code, self.code.builder.fdiv(self.ir, self.code.vector(other)))

    def __rtruediv__(self, other: LaneOperand) -> Lane:
        return Lane(self.code, self.code.builder.fdiv(self.code.vector(other), self.ir))

    def __neg__(self) -> Lane:
        return Lane(self.code, self.code.builder.fneg(self.ir))

    def _compare(self, sign: str, other: LaneOperand) -> LaneMask:
        return LaneMask(self.code, self.code.builder.fcmp_ordered(sign, self.ir, self.code.vector(other)))

    def __lt__(self, other: LaneOperand) -> LaneMask:
        return self._compare("<", other)

    def __le__(self, other: LaneOperand) -> LaneMask:
        return self._compare("<=", other)

    def __gt__(self, other: LaneOperand) -> LaneMask:
        return self._compare(">", other)

    def __ge__(self, other: LaneOperand) -> LaneMask:
        return self._compare(">=", other)

    __radd__, __rmul__ = __add__, __mul__

    def call(self, name: str, *others: LaneOperand) -> Lane:
        """Return the result of an LLVM intrinsic on this lane and `others`."""
        operands = [self.ir, *(self.code.vector(other) for other in others)]
        kind = ir.FunctionType(VECTOR, [VECTOR] * len(operands))
        function = self.code.builder.module.declare_intrinsic(f"llvm.{name}.v{WIDTH}f64", (), kind)
        return Lane(self.code, self.code.builder.call(function, operands))

    def bits(self) -> ir.Value:
        """Return the bit patterns as integers."""
        return self.code.builder.bitcast(self.ir, INTEGERS)


class LaneMask:
    """A condition for each of WIDTH networks."""

    __slots__ = ("code", "ir")

    def __init__(self, code: VectorCode, value: ir.Value) -> None:
        self.code, self.ir = code, value

    def __or__(self, other: LaneMask) -> LaneMask:
        return LaneMask(self.code, self.code.builder.or_(self.ir, other.ir))

    def __and__(self, other: LaneMask) -> LaneMask:
        return LaneMask(self.code, self.code.builder.and_(self.ir, other.ir))

    def __invert__(self) -> LaneMask:
        return LaneMask(self.code, self.code.builder.not_(self.ir))


class Flag:
    """A condition that is the same for all networks, and is known only when the code runs."""

    __slots__ = ("code", "ir")

    def __init__(self, code: VectorCode, value: ir.Value) -> None:
        self.code, self.ir = code, value

    def __bool__(self) -> bool:
        raise TypeError("a condition is known only when the code runs: use given, choose or mask, not if")


class Index:
    """A whole number that is known only when the code runs, such as the counter of a loop or a size."""

    __slots__ = ("code", "ir")

    def __init__(self, code: VectorCode, value: ir.Value) -> None:
        self.code, self.ir = code, value

    def __bool__(self) -> bool:
        raise TypeError("a whole number is known only when the code runs: use given or choose, not if")

    def __add__(self, other: IndexOperand) -> Index:
        return Index(self.code, self.code.builder.add(self.ir, self.code.integer(other)))

    def __sub__(self, other: IndexOperand) -> Index:
        return Index(self.code, self.code.builder.sub(self.ir, self.code.integer(other)))

    def __rsub__(self, other: IndexOperand) -> Index:
        return Index(self.code, self.code.builder.sub(self.code.integer(other), self.ir))

    def __mul__(self, other: IndexOperand) -> Index:
        return Index(self.code, self.code.builder.mul(self.ir, self.code.integer(other)))

    def __floordiv__(self, other: IndexOperand) -> Index:
        return Index(self.code, self.code.builder.udiv(self.ir, self.code.integer(other)))

    def __mod__(self, other: IndexOperand) -> Index:
        return Index(self.code, self.code.builder.urem(self.ir, self.code.integer(other)))

    __radd__, __rmul__ = __add__, __mul__
