"""BLAS and LAPACK for compiled code: SciPy's routines, which are called by address without Python between.

Numba supports only a part of LAPACK, and its wrappers allocate and raise. The routines here are called as in
Fortran, on arrays of the caller, without allocation, exceptions or the lock of Python. Matrices are stored
column by column, so a C-ordered array (columns, rows) is a matrix (rows, columns).

Compiled code calls a *symbol*, and each process that imports this module tells LLVM the address of the
symbol. An address in compiled code would be wrong in the next process that loads the code from the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import get_cython_function_address, intrinsic

from fastlin.kernels.compiler.code import FLUSH

_BYTES = ir.IntType(8).as_pointer()
_INTEGER, _DOUBLE = ir.IntType(64), ir.DoubleType()


def _routine(library: str, name: str, options: str, kinds: str) -> Any:
    """Return a routine of SciPy as a function for compiled code.

    `options` are its leading characters, such as "UN" for an upper triangle that is not transposed. `kinds`
    has a letter for each further argument in the order of Fortran: i integer, d double, a array. A final x is
    the error code, which the function returns (0 for no error). A final r is for a routine that returns a
    double.
    """
    symbol = f"fastlin_{name}"
    binding.add_symbol(symbol, get_cython_function_address(f"scipy.linalg.cython_{library}", name))
    passed = [kind for kind in kinds if kind in "ida"]
    kind_returned = types.int64 if "x" in kinds else types.float64 if "r" in kinds else types.void

    def write(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        numbers = cgutils.unpack_tuple(builder, values[0])
        pointers = [_slot(builder, ir.IntType(8)(ord(option))) for option in options]
        for kind, given, value in zip(passed, signature.args[0].types, numbers, strict=True):
            if kind == "a":
                pointers.append(context.make_array(given)(context, builder, value).data)
            else:
                wanted = types.int64 if kind == "i" else types.float64
                pointers.append(_slot(builder, context.cast(builder, value, given, wanted)))
        # An integer is passed as 64 bits that hold a number >= 0. Little-endian code that reads only 32 of
        # them finds the same number, so both builds of SciPy work (LP64 and ILP64).
        error = _slot(builder, _INTEGER(0)) if "x" in kinds else None
        if error is not None:
            pointers.append(error)
        result = _DOUBLE if "r" in kinds else ir.VoidType()
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(result, [_BYTES] * len(pointers)), symbol
        )
        returned = builder.call(function, [builder.bitcast(pointer, _BYTES) for pointer in pointers])
        if error is not None:
            return builder.load(error)
        return returned if "r" in kinds else context.get_dummy_value()

    def declare(_typing: Any, *arguments: Any) -> Any:
        for kind, given in zip(passed, arguments, strict=True):
            if not isinstance(given, {"i": types.Integer, "d": types.Float, "a": types.Array}[kind]):
                raise TypeError(f"{name} needs arguments {passed}, not {arguments}")
        return kind_returned(types.StarArgTuple(arguments)), write

    declare.__name__ = name
    return intrinsic(declare)


def _slot(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return the address of a value, on the stack of the function."""
    slot = cgutils.alloca_once(builder, value.type)
    builder.store(value, slot)
    return slot


ddot = _routine("blas", "ddot", "", "iaiair")
dgemv_t = _routine("blas", "dgemv", "T", "iidaiaidai")  # y = alpha A^T x + beta y
dger = _routine("blas", "dger", "", "iidaiaiai")  # A += alpha x y^T
dgemm_nn = _routine("blas", "dgemm", "NN", "iiidaiaidai")  # C = alpha A B + beta C
dgemm_nt = _routine("blas", "dgemm", "NT", "iiidaiaidai")  # C = alpha A B^T + beta C
dgemm_tn = _routine("blas", "dgemm", "TN", "iiidaiaidai")  # C = alpha A^T B + beta C
dsyrk_n = _routine("blas", "dsyrk", "UN", "iidaidai")  # C = alpha A A^T + beta C, its upper triangle
dsyrk_t = _routine("blas", "dsyrk", "UT", "iidaidai")  # C = alpha A^T A + beta C, its upper triangle
dtrsm_right = _routine("blas", "dtrsm", "RUNN", "iidaiai")  # B = alpha B R^-1, R upper triangular
dpotrf = _routine("lapack", "dpotrf", "U", "iaix")  # A = R^T R, by its upper triangle
dgeqrf = _routine("lapack", "dgeqrf", "", "iiaiaaix")  # A = Q R
dgesdd_n = _routine("lapack", "dgesdd", "N", "iiaiaaiaiaiax")  # the singular values of A


def _control(name: str) -> Callable[[ir.IRBuilder, ir.Value], None]:
    def call(builder: ir.IRBuilder, slot: ir.Value) -> None:
        kind = ir.FunctionType(ir.VoidType(), [_BYTES])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{name}mxcsr")
        builder.call(function, [builder.bitcast(slot, _BYTES)])

    return call


_read_control, _write_control = _control("st"), _control("ld")


def _has_control_word() -> bool:
    return bool(binding.get_process_triple().startswith("x86_64"))


def _flush(_typing: Any) -> Any:
    """Take numbers below 2^-1022 as 0 in this thread from here on; return the control word before.

    x86 takes 100 cycles for an operation on such a number. `restore_denormals` must follow on every path.
    Other processors are as fast on these numbers, and keep them.
    """

    def write(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        if not _has_control_word():
            return ir.IntType(32)(0)
        slot = cgutils.alloca_once(builder, ir.IntType(32))
        _read_control(builder, slot)
        before = builder.load(slot)
        builder.store(builder.or_(before, before.type(FLUSH)), slot)
        _write_control(builder, slot)
        return before

    return types.uint32(), write


def _restore(_typing: Any, before: Any) -> Any:
    """Restore the control word that `flush_denormals` returned."""

    def write(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        if _has_control_word():
            _write_control(builder, _slot(builder, values[0]))
        return context.get_dummy_value()

    return types.void(types.uint32), write


flush_denormals: Any = intrinsic(_flush)
restore_denormals: Any = intrinsic(_restore)
