"""Large networks, one at a time: the algorithms of `vector/` on BLAS and LAPACK.

`routines` binds BLAS and LAPACK for compiled code. `matrices` chooses between routines by size. `workspace`
is the memory of one network. `evolution` evolves a start, and `observables` computes its outputs. `dynamics`
(closed form and gradient descent) and `time_scales` run all points of a group in one call, without the lock
of Python, so that threads scale. `problems` sets up the problem of a seed. `inputs` and `inputs_problems` are
for inputs that are not whitened.
"""
