"""Memory of vector code: arrays of lanes, variables, arrays that all lanes share, and one array a lane."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from fastlin.kernels.compiler.protocols import FREE, Access, Operand, Place, Whole
from fastlin.kernels.compiler.values import INTEGER, VECTOR, WIDTH, Flag, Index, Lane

if TYPE_CHECKING:
    from fastlin.kernels.compiler.code import VectorCode

_LANE_NUMBER = ir.IntType(32)


def _flat(place: Place, shape: tuple[Whole, ...]) -> Whole:
    """Return the position of an element in an array of this shape, row by row."""
    parts = place if isinstance(place, tuple) else (place,)
    position: Whole = 0
    for part, size in zip(parts, shape, strict=True):
        position = part + position * size
    return position


class Memory:
    """An array of lanes in memory: (shape, WIDTH) doubles, contiguous.

    `marks` is metadata of its loads and stores, which tell LLVM that arrays of a workspace do not overlap.
    """

    def __init__(
        self,
        code: VectorCode,
        pointer: ir.Value,
        shape: tuple[Whole, ...],
        marks: tuple[Any, ...] = (),
        access: Access = FREE,
    ) -> None:
        self.code, self.shape, self._marks, self._access = code, shape, marks, access
        self.start = code.builder.bitcast(pointer, VECTOR.as_pointer())

    def restricted(self, access: Access) -> Memory:
        """Return the array for a part that declares this access."""
        return Memory(self.code, self.start, self.shape, self._marks, access)

    def flat(self) -> Memory:
        """Return the array with one dimension."""
        return Memory(self.code, self.start, (math.prod(self.shape),), self._marks, self._access)

    def or_else(self, flag: Flag, other: Memory) -> Memory:
        """Return this array if a condition holds, else the other one."""
        sizes = zip(self.shape, other.shape, strict=True)
        shape = tuple(self.code.choose(flag, *pair) for pair in sizes)
        return Memory(self.code, self.code.builder.select(flag.ir, self.start, other.start), shape)

    def _address(self, place: Place) -> ir.Value:
        return self.code.builder.gep(self.start, [self.code.integer(_flat(place, self.shape))])

    def _marked(self, instruction: Any) -> Any:
        for name, mark in self._marks:
            instruction.set_metadata(name, mark)
        return instruction

    def fill(self, other: Any) -> None:
        """Copy an array with the same number of lanes."""
        mine, theirs = self.flat(), other.flat()
        for place in self.code.loop(0, math.prod(self.shape)):
            mine[place] = theirs[place]

    def __getitem__(self, place: Place) -> Lane:
        self._access.check_read()
        return Lane(self.code, self._marked(self.code.builder.load(self._address(place), align=8)))

    def __setitem__(self, place: Place, value: Operand) -> None:
        self._access.check_write()
        self._marked(self.code.builder.store(self.code.vector(value), self._address(place), align=8))


class Registers:
    """An array of lanes that unrolled code indexes by constants. LLVM keeps it in registers."""

    def __init__(self, code: VectorCode, shape: tuple[int, ...]) -> None:
        self.code, self.shape = code, shape
        self._slots = {place: cgutils.alloca_once(code.builder, VECTOR) for place in np.ndindex(*shape)}

    def _slot(self, place: Any) -> ir.Value:
        return self._slots[place if isinstance(place, tuple) else (place,)]

    def __getitem__(self, place: Any) -> Lane:
        return Lane(self.code, self.code.builder.load(self._slot(place)))

    def __setitem__(self, place: Any, value: Operand) -> None:
        self.code.builder.store(self.code.vector(value), self._slot(place))


class LaneVariable:
    """A lane that can be assigned to more than once: ``x.value = fma(y, z, x.value)``."""

    def __init__(self, code: VectorCode, value: Operand) -> None:
        self._code, self._slot = code, cgutils.alloca_once(code.builder, VECTOR)
        self.value = value

    @property
    def value(self) -> Lane:
        """The lane that was assigned last."""
        return Lane(self._code, self._code.builder.load(self._slot))

    @value.setter
    def value(self, value: Operand) -> None:
        self._code.builder.store(self._code.vector(value), self._slot)


class Numbers:
    """An array of whole numbers or doubles. All lanes share its elements.

    `shape` has an `Index` for each dimension if the array is an argument of a kernel. Else it is empty.
    """

    def __init__(self, code: VectorCode, pointer: ir.Value, shape: tuple[Index, ...] = ()) -> None:
        self.code, self.pointer, self.shape = code, pointer, shape

    def at(self, first: Whole) -> Numbers:
        """Return the array from element `first` on."""
        return Numbers(self.code, self.code.builder.gep(self.pointer, [self.code.integer(first)]))

    def vectors(self, first: Whole = 0, shape: tuple[Whole, ...] = (1,)) -> Memory:
        """Return the memory from vector `first` on as an array of lanes. It may be longer than `shape`."""
        start = self.code.builder.gep(self.pointer, [self.code.integer(first * WIDTH)])
        return Memory(self.code, start, shape)

    def number(self, place: Whole) -> ir.Value:
        """Return one element as an LLVM value."""
        return self.code.builder.load(self.code.builder.gep(self.pointer, [self.code.integer(place)]))

    def store(self, place: Whole, number: ir.Value) -> None:
        """Write an LLVM value to one element."""
        self.code.builder.store(number, self.code.builder.gep(self.pointer, [self.code.integer(place)]))

    def __getitem__(self, place: Whole) -> Any:
        number = self.number(place)
        return Index(self.code, number) if number.type == INTEGER else self.code.repeat(number)


def _transposed(rows: list[ir.Value], builder: ir.IRBuilder) -> list[ir.Value]:
    """Return the columns of a square of vectors, by swapping smaller and smaller blocks off its diagonal."""
    size = len(rows) // 2
    while size:
        both = [lane if not lane & size else WIDTH + lane - size for lane in range(WIDTH)]
        upper = ir.Constant(ir.VectorType(_LANE_NUMBER, WIDTH), both)
        lower = ir.Constant(ir.VectorType(_LANE_NUMBER, WIDTH), [lane + size for lane in both])
        swapped = list(rows)
        for row in (row for row in range(WIDTH) if not row & size):
            pair = rows[row], rows[row + size]
            swapped[row] = builder.shuffle_vector(*pair, upper)
            swapped[row + size] = builder.shuffle_vector(*pair, lower)
        rows, size = swapped, size // 2
    return rows


class Spread:
    """Arrays of doubles, one for each lane, at different addresses."""

    def __init__(self, array: Numbers, offsets: list[Whole]) -> None:
        self.code = code = array.code
        self._starts = [code.builder.gep(array.pointer, [code.integer(offset)]) for offset in offsets]

    def _address(self, lane: int, place: Whole) -> ir.Value:
        return self.code.builder.gep(self._starts[lane], [self.code.integer(place)])

    def __getitem__(self, place: Whole) -> Lane:
        value = ir.Constant(VECTOR, ir.Undefined)
        for lane in range(WIDTH):
            number = self.code.builder.load(self._address(lane, place))
            value = self.code.builder.insert_element(value, number, _LANE_NUMBER(lane))
        return Lane(self.code, value)

    def __setitem__(self, place: Whole, value: Operand) -> None:
        for lane in range(WIDTH):
            number = self.code.builder.extract_element(self.code.vector(value), _LANE_NUMBER(lane))
            self.code.builder.store(number, self._address(lane, place))

    def put(self, first: Whole, values: list[Lane]) -> None:
        """Write WIDTH successive elements from `first` on, as one vector for the array of each lane."""
        for lane, value in enumerate(_transposed([value.ir for value in values], self.code.builder)):
            address = self.code.builder.bitcast(self._address(lane, first), VECTOR.as_pointer())
            self.code.builder.store(value, address, align=8)

    def prefetch(self, first: Whole) -> None:
        """Fetch the WIDTH elements from `first` on into the processor's cache. They are written next."""
        byte = ir.IntType(8).as_pointer()
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = self.code.builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
        hints = [flag(number) for number in (1, 3, 1)]  # to write; keep; data
        for lane in range(WIDTH):
            address = self.code.builder.bitcast(self._address(lane, first), byte)
            self.code.builder.call(function, [address, *hints])
