"""Large networks: one at a time, the algorithm of the vectors of eight on BLAS and LAPACK.

`routines` binds BLAS and LAPACK for compiled code, `matrices` chooses between them by size, and `workspace`
is the memory that one network needs. `evolution` evolves a start and `observables` observes it. `dynamics`
(closed form and gradient descent) and `time_scales` drive both for all points of a block in one call. The
call holds no lock of Python, so that threads scale. `problems` sets up what a seed needs.
"""
