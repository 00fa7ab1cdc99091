"""A compiler from plain Python to vector code. It knows nothing of networks.

`protocols` is the interface that a traced function uses. `code` writes such a function as LLVM instructions
on `values` and `memory`, and `plain` runs it on NumPy arrays. `arithmetic` and `elementary` are the
operations. `workspace` holds scratch memory, and `static` the types of compile-time values and of tables of
sizes. `tracing` makes Numba intrinsics. `jit` owns the flags of compilation, `callee` compiles functions that
only kernels call, and `cache` keeps compiled code on disk.
"""
