"""Eight networks at a time: one instruction works on the same number of eight networks.

One step of the mathematics is one file. `problems` sets up a seed. `closed_form`, `gradient_descent` and
`time_scales` run the points of a batch. `points` loops over vectors of points. `inputs` and `inputs_flow` are
for inputs that are not whitened.
"""
