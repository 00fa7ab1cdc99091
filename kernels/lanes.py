"""How a Python expression becomes vector code: eight networks to a vector, one instruction for all.

A traced function is plain Python over things that can be added, multiplied and indexed. `@traced` makes a
Numba intrinsic of it: on compilation it is run once, on `Lane` values that write LLVM instructions down
instead of computing. A `for` over `Code.loop` becomes a loop, one over a `range` is unrolled by that, and
`Code.columns` is one or the other, so the same function serves narrow and wide networks. It runs on NumPy
arrays as well, or on any other numbers, with a `Plain` in place of `Code`.

Vectors of eight doubles are legal on every machine: LLVM splits them where registers are narrower. There is
no fast-math anywhere: an FMA is where `fma` is written, so bits depend neither on the machine nor on what
LLVM inlines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_process_triple
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastlin.kernels.sizes import WIDTH, Static

DOUBLE, INTEGER = ir.DoubleType(), ir.IntType(64)
VECTOR, INTEGERS = ir.VectorType(DOUBLE, WIDTH), ir.VectorType(INTEGER, WIDTH)
MASK = ir.VectorType(ir.IntType(1), WIDTH)
FLUSH = 0x8040  # of the control word of x86: flush to zero, denormals are zeros


class Lane:
    """One number of each of WIDTH networks."""

    __slots__ = ("code", "value")

    def __init__(self, code: Code, value: ir.Value) -> None:
        self.code, self.value = code, value

    def __add__(self, other: Any) -> Lane:
        return Lane(self.code, self.code.builder.fadd(self.value, self.code.vector(other)))

    def __sub__(self, other: Any) -> Lane:
        return Lane(self.code, self.code.builder.fsub(self.value, self.code.vector(other)))

    def __rsub__(self, other: Any) -> Lane:
        return Lane(self.code, self.code.builder.fsub(self.code.vector(other), self.value))

    def __mul__(self, other: Any) -> Lane:
        return Lane(self.code, self.code.builder.fmul(self.value, self.code.vector(other)))

    def __truediv__(self, other: Any) -> Lane:
        return Lane(self.code, self.code.builder.fdiv(self.value, self.code.vector(other)))

    def __rtruediv__(self, other: Any) -> Lane:
        return Lane(self.code, self.code.builder.fdiv(self.code.vector(other), self.value))

    def __neg__(self) -> Lane:
        return Lane(self.code, self.code.builder.fneg(self.value))

    def _compare(self, sign: str, other: Any) -> Mask:
        return Mask(self.code, self.code.builder.fcmp_ordered(sign, self.value, self.code.vector(other)))

    def __lt__(self, other: Any) -> Mask:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Mask:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Mask:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Mask:
        return self._compare(">=", other)

    __radd__, __rmul__ = __add__, __mul__

    def call(self, name: str, *others: Any) -> Lane:
        """Return what an LLVM intrinsic makes of this lane and `others`."""
        operands = [self.value, *(self.code.vector(other) for other in others)]
        kind = ir.FunctionType(VECTOR, [VECTOR] * len(operands))
        function = self.code.builder.module.declare_intrinsic(f"llvm.{name}.v{WIDTH}f64", (), kind)
        return Lane(self.code, self.code.builder.call(function, operands))

    def bits(self) -> ir.Value:
        """Return the bit patterns as integers."""
        return self.code.builder.bitcast(self.value, INTEGERS)


class Mask:
    """A condition for each of WIDTH networks."""

    __slots__ = ("code", "value")

    def __init__(self, code: Code, value: ir.Value) -> None:
        self.code, self.value = code, value

    def __or__(self, other: Mask) -> Mask:
        return Mask(self.code, self.code.builder.or_(self.value, other.value))

    def __and__(self, other: Mask) -> Mask:
        return Mask(self.code, self.code.builder.and_(self.value, other.value))

    def __invert__(self) -> Mask:
        return Mask(self.code, self.code.builder.not_(self.value))


class Index:
    """A whole number that is known when the code runs: the counter of a loop, and sums with it."""

    __slots__ = ("code", "value")

    def __init__(self, code: Code, value: ir.Value) -> None:
        self.code, self.value = code, value

    def __add__(self, other: Any) -> Index:
        return Index(self.code, self.code.builder.add(self.value, self.code.integer(other)))

    def __sub__(self, other: Any) -> Index:
        return Index(self.code, self.code.builder.sub(self.value, self.code.integer(other)))

    def __rsub__(self, other: Any) -> Index:
        return Index(self.code, self.code.builder.sub(self.code.integer(other), self.value))

    def __mul__(self, other: Any) -> Index:
        return Index(self.code, self.code.builder.mul(self.value, self.code.integer(other)))

    def __mod__(self, other: Any) -> Index:
        return Index(self.code, self.code.builder.urem(self.value, self.code.integer(other)))

    __radd__, __rmul__ = __add__, __mul__


def _flat(index: Any, shape: tuple[int, ...]) -> Any:
    """Return the position of an element in an array of this shape, row by row."""
    parts = index if isinstance(index, tuple) else (index,)
    position = 0
    for part, size in zip(parts, shape, strict=True):
        position = part + position * size
    return position


class Memory:
    """An array of lanes in memory: (shape, WIDTH) doubles, contiguous."""

    def __init__(self, code: Code, pointer: ir.Value, shape: tuple[int, ...]) -> None:
        self.code, self.shape = code, shape
        self._start = code.builder.bitcast(pointer, VECTOR.as_pointer())

    def _address(self, index: Any) -> ir.Value:
        return self.code.builder.gep(self._start, [self.code.integer(_flat(index, self.shape))])

    def fill(self, other: Memory) -> None:
        """Copy an array of as many lanes."""
        for place in self.code.loop(0, math.prod(self.shape)):
            address = self.code.builder.gep(other._start, [place.value])
            lane = self.code.builder.load(address, align=8)
            self.code.builder.store(lane, self.code.builder.gep(self._start, [place.value]), align=8)

    def __getitem__(self, index: Any) -> Lane:
        return Lane(self.code, self.code.builder.load(self._address(index), align=8))

    def __setitem__(self, index: Any, value: Any) -> None:
        self.code.builder.store(self.code.vector(value), self._address(index), align=8)


class Registers:
    """An array of lanes that unrolled code indexes by constants; LLVM keeps it in registers."""

    def __init__(self, code: Code, shape: tuple[int, ...]) -> None:
        self.code, self.shape = code, shape
        self._slots = {index: cgutils.alloca_once(code.builder, VECTOR) for index in np.ndindex(*shape)}

    def _slot(self, index: Any) -> ir.Value:
        return self._slots[index if isinstance(index, tuple) else (index,)]

    def __getitem__(self, index: Any) -> Lane:
        return Lane(self.code, self.code.builder.load(self._slot(index)))

    def __setitem__(self, index: Any, value: Any) -> None:
        self.code.builder.store(self.code.vector(value), self._slot(index))


class Variable:
    """A lane that is assigned to more than once: ``x.now = fma(y, z, x.now)``."""

    def __init__(self, code: Code, value: Any) -> None:
        self._code, self._slot = code, cgutils.alloca_once(code.builder, VECTOR)
        self.now = value

    @property
    def now(self) -> Lane:
        """Its present value."""
        return Lane(self._code, self._code.builder.load(self._slot))

    @now.setter
    def now(self, value: Any) -> None:
        self._code.builder.store(self._code.vector(value), self._slot)


class Numbers:
    """A bare array, whose elements are the same for all lanes: whole numbers or doubles."""

    def __init__(self, code: Code, pointer: ir.Value, size: ir.Value | None = None) -> None:
        self.code, self.pointer = code, pointer
        self.size = Index(code, size)

    def at(self, first: Any) -> Numbers:
        """Return what is left of the array from element `first` on."""
        return Numbers(self.code, self.code.builder.gep(self.pointer, [self.code.integer(first)]))

    def vectors(self, first: Any = 0, shape: tuple[int, ...] = (1,)) -> Memory:
        """Return the array as one of lanes from vector `first` on; one dimension may be of any length."""
        start = self.code.builder.gep(self.pointer, [self.code.integer(first * WIDTH)])
        return Memory(self.code, start, shape)

    def __getitem__(self, index: Any) -> Index | Lane:
        number = self.code.builder.load(self.code.builder.gep(self.pointer, [self.code.integer(index)]))
        return Index(self.code, number) if number.type == INTEGER else self.code.repeat(number)


def _transposed(rows: list[ir.Value], builder: ir.IRBuilder) -> list[ir.Value]:
    """Return the columns of a square of vectors, by swapping ever smaller blocks off its diagonal."""
    size = len(rows) // 2
    while size:
        both = [lane if not lane & size else WIDTH + lane - size for lane in range(WIDTH)]
        upper = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), both)
        lower = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [lane + size for lane in both])
        swapped = list(rows)
        for row in (row for row in range(WIDTH) if not row & size):
            pair = rows[row], rows[row + size]
            swapped[row] = builder.shuffle_vector(*pair, upper)
            swapped[row + size] = builder.shuffle_vector(*pair, lower)
        rows, size = swapped, size // 2
    return rows


class Spread:
    """An array of doubles for each lane, each at an address of its own."""

    def __init__(self, array: Numbers, offsets: list[Any]) -> None:
        self.code = code = array.code
        self._starts = [code.builder.gep(array.pointer, [code.integer(offset)]) for offset in offsets]

    def _address(self, lane: int, index: Any) -> ir.Value:
        return self.code.builder.gep(self._starts[lane], [self.code.integer(index)])

    def __getitem__(self, index: Any) -> Lane:
        value = ir.Constant(VECTOR, ir.Undefined)
        for lane in range(WIDTH):
            number = self.code.builder.load(self._address(lane, index))
            value = self.code.builder.insert_element(value, number, ir.Constant(ir.IntType(32), lane))
        return Lane(self.code, value)

    def put(self, first: Any, values: list[Lane]) -> None:
        """Write WIDTH successive elements, from `first` on: whole vectors to where each lane's array is."""
        for lane, value in enumerate(_transposed([value.value for value in values], self.code.builder)):
            address = self.code.builder.bitcast(self._address(lane, first), VECTOR.as_pointer())
            self.code.builder.store(value, address, align=8)

    def prefetch(self, first: Any) -> None:
        """Fetch the WIDTH elements from `first` on, which are to be written, into the cache."""
        byte = ir.IntType(8).as_pointer()
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = self.code.builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
        hints = [flag(number) for number in (1, 3, 1)]  # to write; keep; data
        for lane in range(WIDTH):
            address = self.code.builder.bitcast(self._address(lane, first), byte)
            self.code.builder.call(function, [address, *hints])

    def __setitem__(self, index: Any, value: Lane) -> None:
        for lane in range(WIDTH):
            number = self.code.builder.extract_element(value.value, ir.Constant(ir.IntType(32), lane))
            self.code.builder.store(number, self._address(lane, index))


class Code:
    """Where a traced function writes: constants, loops and room for intermediate lanes."""

    def __init__(self, context: Any, builder: ir.IRBuilder, sizes: Any) -> None:
        self.context, self.builder, self.sizes = context, builder, sizes

    def vector(self, value: Any) -> ir.Value:
        """Return a lane's value, or a number repeated."""
        return value.value if isinstance(value, Lane) else ir.Constant(VECTOR, [float(value)] * WIDTH)

    def integer(self, value: Any) -> ir.Value:
        """Return the value of an index or of a whole number."""
        return value.value if isinstance(value, Index) else ir.Constant(INTEGER, int(value))

    def constant(self, value: float) -> Lane:
        """Return a number for all lanes."""
        return Lane(self, self.vector(value))

    def repeat(self, number: ir.Value) -> Lane:
        """Return a number that is known when the code runs, for all lanes."""
        value = ir.Constant(VECTOR, ir.Undefined)
        for lane in range(WIDTH):
            value = self.builder.insert_element(value, number, ir.Constant(ir.IntType(32), lane))
        return Lane(self, value)

    def loop(self, first: Any, last: Any) -> Iterator[Index]:
        """Write a loop over first..last-1, around what the `for` that takes this does."""
        builder = self.builder
        start, end = self.integer(first), self.integer(last)
        before = builder.basic_block
        body, after = builder.append_basic_block("body"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", start, end), body, after)
        builder.position_at_end(body)
        counter = builder.phi(INTEGER)
        counter.add_incoming(start, before)
        yield Index(self, counter)
        following = builder.add(counter, ir.Constant(INTEGER, 1))
        counter.add_incoming(following, builder.basic_block)
        builder.cbranch(builder.icmp_signed("<", following, end), body, after)
        builder.position_at_end(after)

    def call(self, part: Callable[..., None], memory: Numbers, *indices: Index) -> None:
        """Write `part` as a function of its own, and a call of it on `memory` and `indices`.

        Within one large function LLVM would load what a loop needs ahead of it, and spill it at once. What
        a part spills is aligned: across two cache lines it would take twice as long.
        """
        module = self.builder.module
        arguments = [memory.pointer, *(index.value for index in indices)]
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        function = ir.Function(module, kind, module.get_unique_name("part"))
        function.linkage = "internal"
        function.attributes.add("noinline")
        function.attributes.alignstack = 8 * WIDTH
        inner = Code(self.context, ir.IRBuilder(function.append_basic_block("entry")), self.sizes)
        pointer, *numbers = function.args
        part(inner, Numbers(inner, pointer), *(Index(inner, number) for number in numbers))
        inner.builder.ret_void()
        self.builder.call(function, arguments)

    def when(self, mask: Mask) -> Iterator[None]:
        """Write a branch around what the `for` that takes this does: skipped where no lane needs it."""
        builder = self.builder
        body, after = builder.append_basic_block("when"), builder.append_basic_block("after")
        flags = builder.bitcast(mask.value, ir.IntType(WIDTH))
        none = ir.Constant(ir.IntType(WIDTH), 0)
        builder.cbranch(builder.icmp_unsigned("!=", flags, none), body, after)
        builder.position_at_end(body)
        yield None
        builder.branch(after)
        builder.position_at_end(after)

    def flushing(self) -> Iterator[None]:
        """Have numbers below 2^-1022 count as 0 in what the `for` that takes this does.

        x86 takes 100 cycles for an operation on one of these, so what decays towards 0 would become fifty
        times slower once it is there; other machines are as fast on them, and are left as they are.
        """
        if not get_process_triple().startswith("x86_64"):
            yield None
            return
        builder, byte = self.builder, ir.IntType(8).as_pointer()
        word = cgutils.alloca_once(builder, ir.IntType(32))
        kind = ir.FunctionType(ir.VoidType(), [byte])
        read, write = (
            cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{name}mxcsr")
            for name in ("st", "ld")
        )
        builder.call(read, [builder.bitcast(word, byte)])
        before = builder.load(word)
        builder.store(builder.or_(before, before.type(FLUSH)), word)
        builder.call(write, [builder.bitcast(word, byte)])
        yield None
        builder.store(before, word)
        builder.call(write, [builder.bitcast(word, byte)])

    def columns(self, first: Any, last: Any) -> Any:
        """Return a range over hidden directions: unrolled where a row fits the registers."""
        return range(first, last) if self.sizes.unrolled else self.loop(first, last)

    def equal(self, index: Index, number: int) -> Mask:
        """Return whether an index has a value, for all lanes."""
        flag = self.builder.icmp_signed("==", index.value, self.integer(number))
        value = ir.Constant(MASK, ir.Undefined)
        for lane in range(WIDTH):
            value = self.builder.insert_element(value, flag, ir.Constant(ir.IntType(32), lane))
        return Mask(self, value)

    def variable(self, value: Any) -> Variable:
        """Return a lane that is assigned to more than once, and so outlives a loop."""
        return Variable(self, value)

    def local(self, *shape: int) -> Memory | Registers:
        """Return room for lanes that `columns` index."""
        if self.sizes.unrolled:
            return Registers(self, shape)
        room = ir.ArrayType(DOUBLE, WIDTH * int(np.prod(shape)))
        with self.builder.goto_entry_block():  # not Numba's, which clears it: minutes to compile
            start = self.builder.alloca(room)
        return Memory(self, self.builder.bitcast(start, DOUBLE.as_pointer()), shape)


class _Copies(dict[Any, Any]):
    """Room for values that stay as they were: elements of NumPy arrays are views."""

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(index, copy(value))


class Plain:
    """Stands in for `Code` where a traced function runs on numbers of any kind: arrays, counters."""

    def __init__(self, make: Callable[[float], Any], sizes: Any = None) -> None:
        self.constant, self.sizes = make, sizes
        self.columns = self.loop = range

    def local(self, *shape: int) -> dict[Any, Any]:
        """Return room for values."""
        return _Copies()

    def variable(self, value: Any) -> Any:
        """Return something to assign to."""
        return SimpleNamespace(now=value)


def fma(x: Any, y: Any, z: Any) -> Any:
    """Return x y + z, rounded once (twice for NumPy arrays)."""
    if isinstance(x, Lane):
        return x.call("fma", y, z)
    return x.fma(y, z) if hasattr(x, "fma") else x * y + z


def sqrt(x: Any) -> Any:
    """Return the square root, correctly rounded."""
    return x.call("sqrt") if isinstance(x, Lane) else np.sqrt(x)


def absolute(x: Any) -> Any:
    """Return abs(x)."""
    return x.call("fabs") if isinstance(x, Lane) else np.abs(x)


def select(mask: Any, yes: Any, no: Any) -> Any:
    """Return `yes` where the mask holds and `no` elsewhere."""
    if isinstance(mask, Mask):
        code = mask.code
        return Lane(code, code.builder.select(mask.value, code.vector(yes), code.vector(no)))
    return np.where(mask, yes, no)


def traced(**layouts: str) -> Callable[[Callable[..., None]], Any]:
    """Make a Numba intrinsic of ``function(code, sizes, *arguments)``.

    Compiled code calls it as ``function(sizes, *arguments)``. Arrays become `Memory` of the shape that
    `layouts` gives by names of attributes of `sizes` (``q="n width"``, with WIDTH lanes after those), or
    `Numbers` where it gives none; floats become lanes, integers indices; `Static` values themselves.
    """

    def decorate(function: Callable[..., None]) -> Any:
        names = function.__code__.co_varnames[2 : function.__code__.co_argcount]

        def write(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            sizes = signature.args[0].value
            code = Code(context, builder, sizes)
            parts = cgutils.unpack_tuple(builder, values[1])
            arguments = [
                _argument(code, name, layouts.get(name), kind, value)
                for name, kind, value in zip(names, signature.args[1].types, parts, strict=True)
            ]
            function(code, sizes, *arguments)
            return context.get_dummy_value()

        def declare(_typing: Any, sizes: Any, *arguments: Any) -> Any:
            return types.void(sizes, types.StarArgTuple(arguments)), write

        declare.__name__, declare.__doc__ = function.__name__, function.__doc__
        return intrinsic(declare)

    return decorate


def _argument(code: Code, name: str, layout: str | None, kind: Any, value: ir.Value) -> Any:
    if isinstance(kind, Static):
        return kind.value
    if isinstance(kind, types.Float):
        return code.repeat(value)
    if isinstance(kind, types.Integer):
        return Index(code, value)
    if kind.layout != "C":
        raise TypeError(f"{name} is an array that is not contiguous; kernels need C order")
    array = code.context.make_array(kind)(code.context, code.builder, value)
    if layout is None:
        return Numbers(code, array.data, array.nitems)
    shape = tuple(getattr(code.sizes, size) for size in layout.split())
    return Memory(code, array.data, shape)
