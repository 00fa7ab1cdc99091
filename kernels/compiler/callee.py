"""Functions that only compiled code calls, without separate machine code.

Numba optimises a function together with all functions that it calls, and makes machine code of the whole. A
function seven calls deep is optimised seven times, and all but one of the copies are thrown away. That was
half of the time that kernels on BLAS took to compile. A callee is not optimised before the kernel that calls
it.
"""

from typing import Any, NoReturn, cast

from numba.core.codegen import JITCodeLibrary  # private: no public option leaves machine code out
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import FunctionPass, PassManager, register_pass
from numba.core.registry import CPUDispatcher  # private: njit does not take a class of dispatchers
from numba.core.typed_passes import NopythonTypeInference

from fastlin.kernels.compiler.jit import FLAGS, Function


class _NoEnvironment:
    """Stands in for the environment of a function, which only calls from Python need."""

    def set_env(self, name: str, environment: Any) -> None:
        pass


class _Library(JITCodeLibrary):
    """The unoptimised code of a callee, which its callers link."""

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
        raise TypeError(f"{self.py_func.__name__} can only be called by compiled code")


def callee(function: Function) -> Function:
    """Compile `function` with the project's flags, for calls from compiled code only."""
    options = {"nopython": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(Function, _Callee(function, targetoptions=FLAGS | options, pipeline_class=_Compiler))
