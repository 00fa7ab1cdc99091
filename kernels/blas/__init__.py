"""Large networks: one at a time, the algorithm of the vectors of eight on BLAS and LAPACK.

`routines` binds BLAS and LAPACK for compiled code. `workspace` is the memory that one network needs. A start is
evolved in `evolution`, observed by `observables`, and both are driven by `dynamics` (closed form and gradient
descent) and `time_scales`, for all points of a block in one call that holds no lock of Python, so that threads
scale. `problems` sets up what a seed needs.
"""
