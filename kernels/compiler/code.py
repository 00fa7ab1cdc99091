"""The writer of vector code: loops, branches, constants and functions, as LLVM instructions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastlin.kernels.compiler.memory import LaneVariable, Memory, Numbers, Registers
from fastlin.kernels.compiler.protocols import Condition, Operand, Whole
from fastlin.kernels.compiler.static import Loaded
from fastlin.kernels.compiler.values import (
    BIT,
    DOUBLE,
    INTEGER,
    MASK,
    VECTOR,
    WIDTH,
    Flag,
    Index,
    Lane,
    LaneMask,
)

BLOCK = 4  # columns at a time where a row does not fit the registers
FLUSH = 0x8040  # bits of the control word of x86: flush to zero, denormals are zeros
_LANE_NUMBER = ir.IntType(32)


def _not_unrolled(module: ir.Module) -> Any:
    """Return metadata of a loop that LLVM must not unroll. Its first operand is itself, as LLVM requires."""
    node = module.add_metadata([ir.MetaDataString(module, f"fastlin.loop.{len(module.metadata)}")])
    node.operands = (node, module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")]))
    return node


class VectorCode:
    """The writer of a traced function as vector code. `protocols.Code` documents its methods.

    `sizes` is a `Sizes`, whose attributes are Python numbers, or a `Loaded`, whose attributes are loaded when
    the code runs.
    """

    def __init__(self, context: Any, builder: ir.IRBuilder, sizes: Any = None) -> None:
        self.context, self.builder, self.sizes = context, builder, sizes
        # AVX-512 has 32 registers of a lane each. Other processors have 16 of half a lane, or 32 of a
        # quarter, which tiles do not fit: a step of (12, 12, 12) took 0.63 us instead of 0.46 with AVX2.
        self.tiles = context is not None and "+avx512f" in context.codegen().magic_tuple()[2]

    # Values

    def vector(self, value: Any) -> ir.Value:
        """Return the LLVM value of a lane. A number is repeated in all lanes."""
        if isinstance(value, Lane):
            return value.ir
        if isinstance(value, Index):
            return self.repeat(self.builder.sitofp(value.ir, DOUBLE)).ir
        return ir.Constant(VECTOR, [float(value)] * WIDTH)

    def integer(self, value: Whole) -> ir.Value:
        """Return the LLVM value of a whole number."""
        return value.ir if isinstance(value, Index) else ir.Constant(INTEGER, int(value))

    def constant(self, value: float) -> Lane:
        """Return a number for all lanes."""
        return Lane(self, self.vector(value))

    def real(self, number: Whole) -> Lane | float:
        """Return a whole number as a real one."""
        return Lane(self, self.vector(number)) if isinstance(number, Index) else float(number)

    def repeat(self, number: ir.Value) -> Lane:
        """Return a lane that repeats an LLVM number."""
        return Lane(self, self._repeated(number, VECTOR))

    def _repeated(self, number: ir.Value, kind: ir.VectorType) -> ir.Value:
        value = ir.Constant(kind, ir.Undefined)
        for lane in range(WIDTH):
            value = self.builder.insert_element(value, number, _LANE_NUMBER(lane))
        return value

    def variable(self, value: Operand) -> LaneVariable:
        """Return a lane that can be assigned to more than once, and so outlives a loop."""
        return LaneVariable(self, value)

    def local(self, *shape: Any) -> Any:
        """Return an array of lanes that `columns` index."""
        if self.sizes.unrolled:
            return Registers(self, shape)
        # Numba's `alloca_once` would clear the memory, which takes minutes to compile.
        with self.builder.goto_entry_block():
            count = self.integer(math.prod(shape))
            start = self.builder.alloca(VECTOR, size=count)
        return Memory(self, start, shape)

    # Loops and branches

    def loop(self, first: Whole, last: Whole) -> Iterator[Index]:
        """Write a loop over first..last-1 around the body of the `for` statement that consumes this."""
        return self._loop(first, last, 1)

    def _loop(self, first: Whole, last: Whole, stride: int) -> Iterator[Index]:
        builder = self.builder
        start, end = self.integer(first), self.integer(last)
        before = builder.basic_block
        body, after = builder.append_basic_block("body"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", start, end), body, after)
        builder.position_at_end(body)
        counter = builder.phi(INTEGER)
        counter.add_incoming(start, before)
        yield Index(self, counter)
        following = builder.add(counter, ir.Constant(INTEGER, stride))
        counter.add_incoming(following, builder.basic_block)
        back = builder.cbranch(builder.icmp_signed("<", following, end), body, after)
        if isinstance(self.sizes, Loaded):
            # Unrolling takes a quarter of the compile time, and saves nothing where lengths are not known.
            back.set_metadata("llvm.loop", _not_unrolled(builder.module))
        builder.position_at_end(after)

    def columns(self, first: Whole, last: Whole) -> Iterable[Any]:
        """Return a range over hidden directions, which is unrolled where a row fits the registers."""
        if self.sizes.unrolled and not isinstance(first, Index) and not isinstance(last, Index):
            return range(first, last)
        return self.loop(first, last)

    def blocks(self, last: Any) -> Iterator[list[Any]]:
        """Write loops over hidden directions by fours and then by threes, so that several sums run at once.

        Every width from 6 on is a sum of fours and threes, so that no direction needs a slow separate loop: 9
        = 3 + 3 + 3, 10 = 4 + 3 + 3, 11 = 4 + 4 + 3.
        """
        if self.sizes.unrolled:
            yield from ([column] for column in range(last))
            return
        width = self.sizes.width
        fours = width - (0 - width) % BLOCK * (BLOCK - 1)
        yield from self._some(0, self.least(last, fours), BLOCK)
        yield from self._some(fours, last, BLOCK - 1)

    def rows(self, first: Whole, last: Whole) -> Iterator[list[Any]]:
        """Write loops over rows, first <= last, by fours and threes if possible, else by fours and ones."""
        if self.sizes.unrolled:
            yield from ([row] for row in self.loop(first, last))
            return
        count = last - first
        threes = (0 - count) % BLOCK * (BLOCK - 1)
        whole = self.integer(count - count % BLOCK)
        fits = self.builder.icmp_signed("<=", self.integer(threes), self.integer(count))
        fours = Index(self, self.builder.select(fits, self.integer(count - threes), whole)) + first
        end = Index(self, self.builder.select(fits, self.integer(count), whole)) + first
        yield from self._some(first, fours, BLOCK)
        yield from self._some(fours, end, BLOCK - 1)
        yield from self._some(end, last, 1)

    def _some(self, first: Whole, last: Whole, count: int) -> Iterator[list[Any]]:
        for number in self._loop(first, last, count):
            yield [number + place for place in range(count)]

    @contextmanager
    def when(self, mask: Any) -> Iterator[None]:
        """Write a branch around the body, which is skipped if the mask holds for no lane."""
        flags = self.builder.bitcast(mask.ir, ir.IntType(WIDTH))
        anywhere = self.builder.icmp_unsigned("!=", flags, ir.Constant(flags.type, 0))
        with self.builder.if_then(anywhere):
            yield

    def given(
        self, flag: Condition, then: Callable[[], None], otherwise: Callable[[], None] | None = None
    ) -> None:
        """Write one of two bodies, or a branch between both if the condition is not known yet."""
        if not isinstance(flag, Flag):
            chosen = then if flag else otherwise
            if chosen is not None:
                chosen()
        elif otherwise is None:
            with self.builder.if_then(flag.ir):
                then()
        else:
            with self.builder.if_else(flag.ir) as (yes, no):
                with yes:
                    then()
                with no:
                    otherwise()

    def choose(self, flag: Condition, yes: Any, no: Any) -> Any:
        """Return one of two whole numbers, lanes or arrays, by a condition that all lanes share."""
        if not isinstance(flag, Flag):
            return yes if flag else no
        if isinstance(yes, Memory):
            return yes.or_else(flag, no)
        if isinstance(yes, Lane | float):
            return Lane(self, self.builder.select(flag.ir, self.vector(yes), self.vector(no)))
        return Index(self, self.builder.select(flag.ir, self.integer(yes), self.integer(no)))

    def equal(self, index: Whole, number: Whole) -> Condition:
        """Return whether two whole numbers are equal."""
        if not isinstance(index, Index) and not isinstance(number, Index):
            return index == number
        return Flag(self, self.builder.icmp_signed("==", self.integer(index), self.integer(number)))

    def below(self, index: Whole, number: Whole) -> Condition:
        """Return whether a whole number is less than another."""
        if not isinstance(index, Index) and not isinstance(number, Index):
            return index < number
        return Flag(self, self.builder.icmp_signed("<", self.integer(index), self.integer(number)))

    def mask(self, flag: Condition) -> LaneMask:
        """Return a mask that is the same for all lanes."""
        bit = flag.ir if isinstance(flag, Flag) else ir.Constant(BIT, int(flag))
        return LaneMask(self, self._repeated(bit, MASK))

    @contextmanager
    def flushing(self) -> Iterator[None]:
        """Take numbers below 2^-1022 as 0 in the body.

        x86 takes 100 cycles for an operation on such a number. A network that decays towards 0 would become
        fifty times slower in the end. Other processors are as fast on these numbers, and keep them.
        """
        if not str(self.builder.module.triple).startswith("x86_64"):
            yield
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
        yield
        builder.store(before, word)
        builder.call(write, [builder.bitcast(word, byte)])

    # Functions

    def call(self, part: Callable[..., None], *given: Numbers | Index, name: Any = None) -> None:
        """Write ``part(code, *given)`` as a function of its own, and a call of it.

        LLVM would load the operands of a loop ahead of it in one large function, and spill them at once. The
        stack of a part is aligned, because a vector across two cache lines takes twice as long. Parts of one
        `name` are written once. By default the name is the part itself.
        """
        module = self.builder.module
        loaded = isinstance(self.sizes, Loaded)
        arguments = [value.ir if isinstance(value, Index) else value.pointer for value in given]
        if loaded:
            arguments.append(self.sizes.pointer)
        kinds = tuple(argument.type for argument in arguments)
        written: dict[Any, ir.Function] = getattr(module, "fastlin_parts", {})
        key = (name or part, self.sizes.kind if loaded else self.sizes, kinds)
        if key not in written:
            module.fastlin_parts = written
            written[key] = self._part(part, given, kinds)
        self.builder.call(written[key], arguments)

    def _part(
        self, part: Callable[..., None], given: tuple[Numbers | Index, ...], kinds: tuple[Any, ...]
    ) -> ir.Function:
        module = self.builder.module
        kind = ir.FunctionType(ir.VoidType(), kinds)
        function = ir.Function(module, kind, module.get_unique_name("part"))
        function.linkage = "internal"
        function.attributes.add("noinline")
        function.attributes.alignstack = 8 * WIDTH
        inner = VectorCode(self.context, ir.IRBuilder(function.append_basic_block("entry")))
        values = list(function.args)
        loaded = isinstance(self.sizes, Loaded)
        inner.sizes = Loaded(inner, values.pop(), self.sizes.kind, at_head=True) if loaded else self.sizes
        part(
            inner,
            *(
                Index(inner, value) if isinstance(theirs, Index) else Numbers(inner, value)
                for theirs, value in zip(given, values, strict=True)
            ),
        )
        inner.builder.ret_void()
        return function

    def apart(self, part: Callable[..., None], *given: Any) -> None:
        """Write ``part(code, *given)`` as a function of its own, once, and a call of it.

        Arrays have one dimension, or rows of all columns. All other arguments are whole numbers.
        """

        def inside(inner: VectorCode, *values: Any) -> None:
            part(
                inner,
                *(
                    Memory(inner, value.pointer, (0, *[inner.sizes.width] * (len(theirs.shape) - 1)))
                    if isinstance(theirs, Memory)
                    else value
                    for theirs, value in zip(given, values, strict=True)
                ),
            )

        values = [
            Numbers(self, value.start) if isinstance(value, Memory) else Index(self, self.integer(value))
            for value in given
        ]
        self.call(inside, *values, name=part)

    def whole(self, number: int) -> Index:
        """Return a whole number as an `Index`, which `call` takes."""
        return Index(self, self.integer(number))

    def least(self, one: Whole, other: Whole) -> Index:
        """Return the smaller of two whole numbers."""
        one, other = self.integer(one), self.integer(other)
        return Index(self, self.builder.select(self.builder.icmp_signed("<", one, other), one, other))

    def store_codes(self, codes: Numbers, first: Whole, value: Lane) -> None:
        """Write a lane of whole numbers below 256 as WIDTH successive bytes."""
        bytes_ = ir.VectorType(ir.IntType(8), WIDTH)
        address = self.builder.gep(codes.pointer, [self.integer(first)])
        small = self.builder.fptoui(value.ir, bytes_)
        self.builder.store(small, self.builder.bitcast(address, bytes_.as_pointer()), align=1)
