"""Numba types of the sizes that kernels are compiled for: compile-time values, and tables of numbers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import NativeValue, models, register_model, typeof_impl, unbox
from numpy.typing import NDArray

from fastlin.kernels.compiler.values import INTEGER, Flag, Index

_POINTER = INTEGER.as_pointer()
_LARGEST = 1 << 40  # of a number in a table


class CompileTime:
    """A value that is known on compilation, such as the outputs that a kernel writes."""

    def __init__(self, value: Any) -> None:
        self.value = value

    @cached_property
    def type(self) -> CompileTimeType:
        """The type of the value. It is kept, because making it takes microseconds."""
        return CompileTimeType(self.value)


class CompileTimeType(types.Type):
    """The type of a compile-time value. The value is part of the type."""

    def __init__(self, value: Any) -> None:
        self.value = value
        super().__init__(name=repr(value))


register_model(CompileTimeType)(models.OpaqueModel)


@typeof_impl.register(CompileTime)
def _typeof_compile_time(value: CompileTime, _context: Any) -> CompileTimeType:
    return value.type


@unbox(CompileTimeType)  # type: ignore[untyped-decorator]
def _unbox_compile_time(_kind: Any, _value: Any, context: Any) -> NativeValue:
    return NativeValue(context.context.get_dummy_value())


class Table:
    """Named numbers that code loads when it runs.

    Parameters
    ----------
    counts, wholes, flags : tuple of str
        Names of numbers that are at least 1, of numbers that are at least 0, and of conditions.
    known : tuple of (str, int)
        Further numbers, which are part of the type.
    numbers : array_like of int
        The numbers of these names, in this order, and then the places of the arrays of a workspace.
    """

    def __init__(
        self,
        counts: tuple[str, ...],
        wholes: tuple[str, ...],
        flags: tuple[str, ...],
        known: tuple[tuple[str, int], ...],
        numbers: list[int],
    ) -> None:
        self.type = TableType(counts, wholes, flags, known)
        self._numbers: NDArray[np.int64] = np.array(numbers, dtype=np.int64)
        self.address = self._numbers.ctypes.data  # the table must outlive the call that reads it


class TableType(types.Type):
    """The type of a table: its names, and the numbers that are known on compilation."""

    def __init__(
        self,
        counts: tuple[str, ...],
        wholes: tuple[str, ...],
        flags: tuple[str, ...],
        known: tuple[tuple[str, int], ...],
    ) -> None:
        self.counts, self.flags, self.known = counts, flags, known
        self.names = (*counts, *wholes, *flags)
        self.places = {name: place for place, name in enumerate(self.names)}
        super().__init__(name=f"Table({known})")


@register_model(TableType)
class _TableModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _POINTER)  # type: ignore[no-untyped-call]


@typeof_impl.register(Table)
def _typeof_table(value: Table, _context: Any) -> TableType:
    return value.type


@unbox(TableType)  # type: ignore[untyped-decorator]
def _unbox_table(_kind: Any, value: Any, context: Any) -> NativeValue:
    number = context.pyapi.object_getattr_string(value, "address")
    address = context.pyapi.long_as_longlong(number)
    context.pyapi.decref(number)
    return NativeValue(context.builder.inttoptr(address, _POINTER))


class Loaded:
    """The numbers of a table in code that is being written: attributes that are an `Index` or a `Flag`.

    They are loaded at the head of a function, so that LLVM knows them everywhere in it. With `at_head` a
    number is loaded at the entry of the function when it is first used. Without, all are loaded at once.
    """

    def __init__(self, code: Any, pointer: ir.Value, kind: TableType, *, at_head: bool) -> None:
        self.code, self.pointer, self.kind, self._at_head = code, pointer, kind, at_head
        for name, number in kind.known:
            setattr(self, name, number)
        if not at_head:
            for name in kind.names:
                getattr(self, name)

    def __getattr__(self, name: str) -> Index | Flag:
        if name not in self.kind.places:
            raise AttributeError(f"{name} is in no table of sizes")
        if self._at_head:
            with self.code.builder.goto_entry_block():
                value = self._named(name)
        else:
            value = self._named(name)
        setattr(self, name, value)
        return value

    def _named(self, name: str) -> Index | Flag:
        place = self.kind.places[name]
        if name in self.kind.flags:
            number = self._load(place, 0, 2).ir
            return Flag(self.code, self.code.builder.icmp_signed("!=", number, ir.Constant(INTEGER, 0)))
        return self._load(place, 1 if name in self.kind.counts else 0, _LARGEST)

    def _load(self, place: int, least: int, above: int) -> Index:
        """Load a number. Its metadata tell LLVM its range, and that it does not change while code runs."""
        builder = self.code.builder
        number = builder.load(builder.gep(self.pointer, [ir.Constant(INTEGER, place)]))
        number.set_metadata("invariant.load", builder.module.add_metadata([]))
        bounds = [ir.Constant(INTEGER, least), ir.Constant(INTEGER, above)]
        number.set_metadata("range", builder.module.add_metadata(bounds))
        return Index(self.code, number)

    def place(self, number: int) -> Index:
        """Return the place where an array of the workspace begins, in vectors."""
        return self._load(len(self.kind.names) + number, 0, _LARGEST)
