"""Functions that compiled code alone calls, without machine code of their own.

Numba optimises a function together with all that it calls, and makes machine code of the whole. A function
seven calls deep is optimised seven times, and all but one of its copies are thrown away: that was half of the
time that kernels on BLAS took to compile. A callee is left as it was typed, until the kernel that calls it is
optimised.
"""

from typing import Any, NoReturn, cast

from numba.core.codegen import JITCodeLibrary  # private: no public option leaves machine code out
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import FunctionPass, PassManager, register_pass
from numba.core.registry import CPUDispatcher  # private: njit does not take a class of dispatchers
from numba.core.typed_passes import NopythonTypeInference

from fastlin.kernels.compiler.jit import FLAGS, Function


class _NoEnvironment:
    """The environment of a function is for calls from Python: a callee has none."""

    def set_env(self, name: str, environment: Any) -> None:
        pass


class _Library(JITCodeLibrary):
    """The code of a callee, which its callers link."""

    @property
    def codegen(self) -> _NoEnvironment:
        return _NoEnvironment()

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()  # type: ignore[no-untyped-call]
        return 0

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()  # type: ignore[no-untyped-call]


@register_pass(mutates_CFG=False, analysis_only=True)
class _UseLibrary(FunctionPass):
    _name = "fastlin_callee"

    def __init__(self) -> None:
        FunctionPass.__init__(self)  # Numba's is abstract

    def run_pass(self, state: Any) -> bool:
        codegen = state.targetctx.codegen()
        state.library = _Library(codegen, state.func_id.func_qualname)  # type: ignore[no-untyped-call]
        return False


class _Compiler(Compiler):
    def define_pipelines(self) -> list[PassManager]:
        (passes,) = super().define_pipelines()  # type: ignore[no-untyped-call]
        passes.add_pass_after(_UseLibrary, NopythonTypeInference)
        passes.finalize()
        return [passes]


class _Callee(CPUDispatcher):
    def __call__(self, *arguments: Any) -> NoReturn:
        raise TypeError(f"{self.py_func.__name__} is for compiled code alone")


def callee(function: Function) -> Function:
    """Compile `function`, with the project's flags, for calls from compiled code."""
    options = {"nopython": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(Function, _Callee(function, targetoptions=FLAGS | options, pipeline_class=_Compiler))
