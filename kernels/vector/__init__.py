"""Eight networks at a time: one instruction works on the same number of eight networks.

One step of the mathematics is one file. `problems` sets up a seed. `closed_form`, `gradient_descent` and
`time_scales` run points (seed, lam). `points` loops over vectors of points.
"""
