"""Functions that compiled code alone calls, without machine code of their own.

Numba optimises a function together with all that it calls, and makes machine code of the whole. A function
seven calls deep is optimised seven times, and all but one of its copies are thrown away: three quarters of the
time that kernels on BLAS took to compile. A callee is left as it was typed, until a kernel that calls it is
optimised as one.
"""

from typing import Any, cast

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import FunctionPass, PassManager, register_pass
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
        self._ensure_finalized()
        return 0

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()


@register_pass(mutates_CFG=False, analysis_only=True)
class _UseLibrary(FunctionPass):
    _name = "fastlin_callee"

    def __init__(self) -> None:
        FunctionPass.__init__(self)  # Numba's is abstract

    def run_pass(self, state: Any) -> bool:
        state.library = _Library(state.targetctx.codegen(), state.func_id.func_qualname)
        return False


class _Compiler(Compiler):
    def define_pipelines(self) -> list[PassManager]:
        (passes,) = super().define_pipelines()
        passes.add_pass_after(_UseLibrary, NopythonTypeInference)
        passes.finalize()
        return [passes]


def callee(function: Function) -> Function:
    """Compile `function` with the project's flags for calls from compiled code; Python must not call it."""
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(Function, numba.njit(pipeline_class=_Compiler, **FLAGS, **options)(function))
