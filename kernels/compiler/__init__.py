"""From plain Python to vector code. It knows nothing of networks.

`protocols` says what a traced function may use. `code` writes it down as LLVM instructions on `values` and
`memory`; `plain` runs it on NumPy arrays. `arithmetic` and `elementary` are the operations, `workspace` holds
scratch memory, `static` the types of what is known on compilation, `tracing` makes Numba intrinsics, `jit`
owns the flags and the cache of compiled code.
"""
