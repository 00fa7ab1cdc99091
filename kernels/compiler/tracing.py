"""Numba intrinsics from traced functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.memory import Memory, Numbers
from fastlin.kernels.compiler.static import CompileTimeType, Loaded, TableType
from fastlin.kernels.compiler.values import INTEGER, Flag, Index


def traced(*, sized: bool = True, **layouts: str) -> Callable[[Callable[..., None]], Any]:
    """Make a Numba intrinsic of ``function(code, *arguments)``.

    Compiled code calls it as ``function(sizes, *arguments)``. `sizes` is a `CompileTime` of a `Sizes`, or a
    `Table`, and becomes ``code.sizes``. A function that is not `sized` is called without it. An array becomes
    a `Memory` if `layouts` names the attributes of the sizes that are its shape (``q="n width"``, followed by
    WIDTH lanes), else `Numbers`. A float becomes a lane, an integer an `Index`, a bool a `Flag`, and a
    `CompileTime` its value. A named tuple becomes a named tuple of these.
    """

    def decorate(function: Callable[..., None]) -> Any:
        names = function.__code__.co_varnames[1 : function.__code__.co_argcount]

        def write(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            code = VectorCode(context, builder)
            if sized:
                kind = signature.args[0]
                code.sizes = (
                    Loaded(code, values[0], kind, at_head=False)
                    if isinstance(kind, TableType)
                    else kind.value
                )
            parts = cgutils.unpack_tuple(builder, values[-1])
            arguments = [
                _argument(code, name, layouts.get(name), kind, value)
                for name, kind, value in zip(names, signature.args[-1].types, parts, strict=True)
            ]
            function(code, *arguments)
            return context.get_dummy_value()

        def declare(_typing: Any, sizes: Any, *arguments: Any) -> Any:
            return types.void(sizes, types.StarArgTuple(arguments)), write

        def declare_unsized(_typing: Any, *arguments: Any) -> Any:
            return types.void(types.StarArgTuple(arguments)), write

        chosen = declare if sized else declare_unsized
        chosen.__name__, chosen.__doc__ = function.__name__, function.__doc__
        made: Any = intrinsic(chosen)
        made.body = function  # tests write it for other processors
        return made

    return decorate


def _argument(code: VectorCode, name: str, layout: str | None, kind: Any, value: ir.Value) -> Any:
    if isinstance(kind, CompileTimeType):
        return kind.value
    if hasattr(kind, "instance_class"):  # a named tuple
        parts = cgutils.unpack_tuple(code.builder, value)
        return kind.instance_class(
            *(
                _argument(code, f"{name}.{field}", None, each, part)
                for field, each, part in zip(kind.fields, kind.types, parts, strict=True)
            )
        )
    if isinstance(kind, types.Float):
        return code.repeat(value)
    if isinstance(kind, types.Integer):
        return Index(code, value)
    if isinstance(kind, types.Boolean):
        return Flag(code, value)
    if kind.layout != "C":
        raise TypeError(f"{name} is an array that is not contiguous; kernels need C order")
    array = code.context.make_array(kind)(code.context, code.builder, value)
    if layout is None:
        sizes = cgutils.unpack_tuple(code.builder, array.shape)
        return Numbers(code, array.data, tuple(Index(code, code.builder.sext(n, INTEGER)) for n in sizes))
    return Memory(code, array.data, tuple(getattr(code.sizes, size) for size in layout.split()))
